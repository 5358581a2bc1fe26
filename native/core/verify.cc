// Proves an image safe, walking its ops in order: shapes (shapes.cc), which regions an op may write, that outputs do
// not lie on what is still read (aliasing), and that what is read was written before in the same step and not
// overwritten since (liveness). Bytes and ids were checked by decode.cc.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "image.h"

namespace gradline {
namespace {

// A stretch of bytes of one region.
struct Range {
  uint64_t begin, end;
};
Range rangeOf(const Tensor &t) { return {t.offset, t.offset + bytesOf(t)}; }
bool overlap(const Tensor &a, const Tensor &b) {
  const Range x = rangeOf(a), y = rangeOf(b);
  return a.region == b.region && x.begin < y.end && y.begin < x.end;
}
bool samePlace(const Tensor &a, const Tensor &b) {
  return a.region == b.region && a.offset == b.offset && bytesOf(a) == bytesOf(b);
}

// What the bytes of one region hold: disjoint stretches, each with the value that was written there last.
class Contents {
 public:
  void write(Range r, uint32_t value) {
    auto at = stretches_.upper_bound(r.begin);
    if (at != stretches_.begin()) at--;
    while (at != stretches_.end() && at->first < r.end) {
      const uint64_t begin = at->first;
      const Stretch old = at->second;
      if (old.end <= r.begin) {
        at++;
        continue;
      }
      at = stretches_.erase(at);
      if (begin < r.begin) stretches_[begin] = {r.begin, old.value};
      if (old.end > r.end) stretches_[r.end] = {old.end, old.value};
    }
    stretches_[r.begin] = {r.end, value};
  }

  // The value that holds the first byte of the range which `owner` does not hold; kNoValue when nothing was written
  // there; `owner` when it holds all. kAny as owner accepts every value: the range is a view of what others wrote.
  static constexpr uint32_t kAny = kNoValue - 1;
  uint32_t intruder(Range r, uint32_t owner) const {
    auto at = stretches_.upper_bound(r.begin);
    if (at == stretches_.begin()) return kNoValue;
    at--;
    while (r.begin < r.end) {
      if (at == stretches_.end() || at->first > r.begin || at->second.end <= r.begin) return kNoValue;
      if (owner != kAny && at->second.value != owner) return at->second.value;
      r.begin = at->second.end;
      at++;
    }
    return owner;
  }

 private:
  struct Stretch {
    uint64_t end;
    uint32_t value;
  };
  std::map<uint64_t, Stretch> stretches_;  // by first byte
};

// The stretch of segments of one region in the sorted table.
struct SegmentSpan {
  const SegmentRecord *first = nullptr;
  int32_t count = 0;
};

class Verifier {
 public:
  explicit Verifier(Image &image) : image_(image), contents_(image.regions.size()) {}
  void run();

 private:
  void segments();
  void effects(const Op &op) const;
  void writableRegions(const Op &op) const;
  void aliasing(const Op &op) const;
  void reads(const Op &op) const;
  void read(const Op &op, const Tensor &t) const;
  void readGradient(const Op &op, const Tensor &t, SegmentSpan spans, uint64_t base) const;
  void writes(const Op &op);
  bool tracked(const Tensor &t) const { return !isExternal(image_.kindOf(t)) && image_.kindOf(t) != RegionKind::input; }

  Image &image_;
  std::vector<Contents> contents_;  // by region
  std::set<uint32_t> computed_;     // values that some op has written so far; others are views
  std::map<uint32_t, SegmentSpan> spans_;
  struct FlatGradient {
    SegmentSpan spans;
    uint64_t base;
  };
  std::map<uint32_t, FlatGradient> gradients_;  // by gradient region
};

// Number of leading flat operands of an update op: parameters, moments, gradient. 0 for other ops.
int flatOperands(const Op &op) {
  const bool flat = op.code == OpCode::accumulateGradient || infoOf(op.code).flags & kUpdateRule;
  return flat ? op.outputs + 1 : 0;
}

void Verifier::segments() {
  const auto reject = [](size_t i, const char *what) {
    throw Error(ErrorCode::program, "not a valid program: segment " + std::to_string(i) + " " + what);
  };
  const int64_t elementBytes = static_cast<int64_t>(bytesOf(image_.floatType()));
  for (size_t i = 0; i < image_.segments.size(); i++) {
    const SegmentRecord &s = image_.segments[i];
    if (s.region >= image_.regions.size()) reject(i, "names a region that does not exist");
    const RegionRecord &region = image_.regions[s.region];
    if (static_cast<RegionKind>(region.kind) != RegionKind::param) reject(i, "is not of a region of kind param");
    const int64_t elements = static_cast<int64_t>(region.bytes) / elementBytes;
    bool finite = true;
    for (const double number : {s.rate, s.decay, s.l1, s.l2}) finite &= std::isfinite(number);
    if (s.flags != 0 || !finite) reject(i, "has wrong flags, rate, decay, l1 or l2");
    if (s.offset < 0 || s.count < 1 || s.offset > elements || s.count > elements - s.offset) {
      reject(i, "leaves its region");
    }
    if (i > 0) {
      const SegmentRecord &before = image_.segments[i - 1];
      const bool sorted =
          before.region < s.region || (before.region == s.region && before.offset + before.count <= s.offset);
      if (!sorted) reject(i, "overlaps the one before it or is out of order");
    }
    SegmentSpan &span = spans_[s.region];
    if (span.count++ == 0) span.first = &s;
  }
}

// The outputs of an effect are its operands, in memory that outlives the program.
void Verifier::effects(const Op &op) const {
  for (int i = 0; i < op.outputs; i++) {
    if (op.out[i].value != op.in[i].value) {
      image_.fail(op, "output " + std::to_string(i) + " is value " + std::to_string(op.out[i].value) +
                          ", expected value " + std::to_string(op.in[i].value) + ", which it changes");
    }
    const RegionKind kind = image_.kindOf(op.out[i]);
    if (!isExternal(kind) || kind == RegionKind::data) {
      image_.fail(op, "output " + std::to_string(i) + " lies in region " + nameOf(kind) +
                          ", expected one that outlives the program and may be written");
    }
  }
}

void Verifier::writableRegions(const Op &op) const {
  for (int i = 0; i < op.outputs; i++) {
    const RegionKind kind = image_.kindOf(op.out[i]);
    const bool own = kind == RegionKind::act || kind == RegionKind::grad || kind == RegionKind::metric;
    const bool assigns = op.code == OpCode::copy || (infoOf(op.code).flags & kInPlace && op.outputs == 1);
    const bool assigned =
        assigns && (kind == RegionKind::param || kind == RegionKind::state || kind == RegionKind::opt);
    if (!own && !assigned) {
      image_.fail(op,
                  "output " + std::to_string(i) + " lies in region " + nameOf(kind) + ", which this op may not write");
    }
  }
}

void Verifier::aliasing(const Op &op) const {
  const OpInfo &info = infoOf(op.code);
  const auto clash = [&](const Tensor &a, const Tensor &b) {
    image_.fail(op, place(op, a) + " overlaps " + place(op, b) + " in region " + nameOf(image_.kindOf(a)));
  };
  for (int o = 0; o < op.outputs; o++) {
    const Tensor &out = op.out[o];
    for (int other = 0; other < o; other++) {
      if (overlap(out, op.out[other])) clash(out, op.out[other]);
    }
    for (int i = 0; i < op.inputs; i++) {
      if (!overlap(out, op.in[i])) continue;
      if (info.flags & kEffect ? i == o : info.flags & kInPlace && o == 0 && samePlace(out, op.in[i])) continue;
      clash(out, op.in[i]);
    }
    for (int e = 0; e < op.epilogues; e++) {
      const Tensor &operand = op.epilogue[e].operand;
      if (op.epilogue[e].hasOperand && overlap(out, operand) && !samePlace(out, operand)) clash(out, operand);
    }
  }
}

void Verifier::read(const Op &op, const Tensor &t) const {
  if (!tracked(t)) return;
  const uint32_t owner = computed_.count(t.value) ? t.value : Contents::kAny;
  const uint32_t found = contents_[t.region].intruder(rangeOf(t), owner);
  if (found == owner) return;
  const std::string what = place(op, t) + " (value " + std::to_string(t.value) + ", " + describe(t) + " in region " +
                           nameOf(image_.kindOf(t)) + " at offset " + std::to_string(t.offset) + ") ";
  image_.fail(op, what + (found == kNoValue ? "is read before it is written"
                                            : "was overwritten by value " + std::to_string(found)));
}

// A flat gradient: only what segments cover has to be written; the gaps between them are never used, and stay zero.
void Verifier::readGradient(const Op &op, const Tensor &t, SegmentSpan spans, uint64_t base) const {
  const uint64_t elementBytes = bytesOf(t.dtype);
  const Range whole = rangeOf(t);
  for (int32_t i = 0; i < spans.count; i++) {
    const SegmentRecord &s = spans.first[i];
    const uint64_t begin = base + static_cast<uint64_t>(s.offset) * elementBytes;
    const Range r = {std::max(begin, whole.begin),
                     std::min(begin + static_cast<uint64_t>(s.count) * elementBytes, whole.end)};
    if (r.begin >= r.end || contents_[t.region].intruder(r, Contents::kAny) == Contents::kAny) continue;
    image_.fail(op, place(op, t) + ": the gradient of segment " + std::to_string(i) + " (elements " +
                        std::to_string(s.offset) + ".." + std::to_string(s.offset + s.count - 1) +
                        ") is read before it is written");
  }
}

void Verifier::reads(const Op &op) const {
  const int flats = flatOperands(op);
  for (int i = 0; i < op.inputs; i++) {
    const Tensor &t = op.in[i];
    const bool gradient = image_.kindOf(t) == RegionKind::grad && (i == flats - 1 || op.code == OpCode::prepareUpdate);
    const auto flat = gradients_.find(t.region);
    if (gradient && flat != gradients_.end()) {
      readGradient(op, t, flat->second.spans, flat->second.base);
    } else {
      read(op, t);
    }
  }
  for (int i = 0; i < op.epilogues; i++) {
    if (op.epilogue[i].hasOperand) read(op, op.epilogue[i].operand);
  }
}

void Verifier::writes(const Op &op) {
  for (int i = 0; i < op.outputs; i++) {
    if (!tracked(op.out[i])) continue;
    contents_[op.out[i].region].write(rangeOf(op.out[i]), op.out[i].value);
    computed_.insert(op.out[i].value);
  }
}

void Verifier::run() {
  segments();
  for (Op &op : image_.ops) {
    if (op.inputs > 0) {
      const auto span = spans_.find(op.in[0].region);
      if (span != spans_.end()) {
        op.segments = span->second.first;
        op.segmentCount = span->second.count;
      }
    }
    if (const int flats = flatOperands(op)) {
      const Tensor &gradient = op.in[flats - 1];
      gradients_[gradient.region] = {{op.segments, op.segmentCount}, gradient.offset};
    }
  }
  for (const Op &op : image_.ops) {
    checkShapes(image_, op);
    infoOf(op.code).flags &kEffect ? effects(op) : writableRegions(op);
    aliasing(op);
    reads(op);
    writes(op);
  }
  for (uint32_t id : image_.inputs) {
    if (image_.kindOf(image_.values[id]) != RegionKind::input) {
      throw Error(ErrorCode::program,
                  "not a valid program: input value " + std::to_string(id) + " does not lie in a region of kind input");
    }
  }
  for (uint32_t id : image_.outputs) {
    const Tensor &t = image_.values[id];
    if (image_.kindOf(t) != RegionKind::metric ||
        contents_[t.region].intruder(rangeOf(t), Contents::kAny) == kNoValue) {
      throw Error(ErrorCode::program, "not a valid program: output value " + std::to_string(id) +
                                          " is not computed into the region of kind metric");
    }
  }
}

}  // namespace

void verify(Image &image) { Verifier(image).run(); }

}  // namespace gradline
