// From untrusted bytes to an Image: header, sizes and counts, value ids, opcodes, arity, ranges inside regions.
// What ops mean, and in which order they may touch memory, is verify.cc and shapes.cc.
#include <cstring>

#include "image.h"

namespace gradline {
namespace {

constexpr uint64_t kMaxRegionBytes = uint64_t{1} << 46;
constexpr uint64_t kMaxProgramBytes = uint64_t{1} << 28;

[[noreturn]] void reject(const std::string &what) { throw Error(ErrorCode::program, "not a valid program: " + what); }

// Reads records one after the other; the total size was proven before the first read. Copies, since the bytes may stand
// at any address.
class Reader {
 public:
  explicit Reader(const uint8_t *bytes) : at_(bytes) {}

  template <class Record>
  Record next() {
    Record record;
    std::memcpy(&record, at_, sizeof record);
    at_ += sizeof record;
    return record;
  }
  template <class Record>
  std::vector<Record> array(size_t count) {
    std::vector<Record> records(count);
    if (count) std::memcpy(records.data(), at_, count * sizeof(Record));
    at_ += count * sizeof(Record);
    return records;
  }
  const uint8_t *rest() const { return at_; }

 private:
  const uint8_t *at_;
};

ProgramHeader readHeader(const uint8_t *bytes, size_t size) {
  if (size < sizeof(ProgramHeader)) reject(std::to_string(size) + " bytes are too few for a header");
  if (size > kMaxProgramBytes) reject(std::to_string(size) + " bytes exceed the limit of 256 MiB");
  const auto h = Reader(bytes).next<ProgramHeader>();
  if (h.magic != kProgramMagic) reject("it does not begin with GLP1");
  if (h.version != kProgramVersion) {
    reject("it has version " + std::to_string(h.version) + ", this library reads version " +
           std::to_string(kProgramVersion) + "; the addon and the TypeScript part come from different releases");
  }
  if (h.numerics > static_cast<uint32_t>(Numerics::bf16)) reject("unknown numerics " + std::to_string(h.numerics));
  const uint64_t ids = uint64_t{h.inputs} + h.outputs;
  const uint64_t expected = sizeof(ProgramHeader) + uint64_t{h.regions} * sizeof(RegionRecord) +
                            uint64_t{h.values} * sizeof(ValueRecord) + uint64_t{h.ops} * sizeof(OpRecord) +
                            uint64_t{h.segments} * sizeof(SegmentRecord) + (ids + ids % 2) * sizeof(uint32_t) +
                            h.siteBytes;
  if (expected != size) {
    reject("its header announces " + std::to_string(expected) + " bytes, received " + std::to_string(size));
  }
  return h;
}

void checkRegions(Image &image) {
  uint64_t total = 0;
  for (size_t i = 0; i < image.regions.size(); i++) {
    const RegionRecord &r = image.regions[i];
    const std::string where = "region " + std::to_string(i);
    if (r.kind >= kRegionKinds) reject(where + " has unknown kind " + std::to_string(r.kind));
    if (r.bytes > kMaxRegionBytes || (total += r.bytes) > kMaxRegionBytes) {
      reject(where + " asks for " + std::to_string(r.bytes) + " bytes, more than any machine has");
    }
    if (static_cast<RegionKind>(r.kind) == RegionKind::metric) {
      if (image.metricRegion >= 0) reject(where + " is a second region of kind metric");
      image.metricRegion = static_cast<int64_t>(i);
    }
  }
}

Tensor toTensor(const Image &image, uint32_t id, const ValueRecord &v) {
  const std::string where = "value " + std::to_string(id);
  if (v.region >= image.regions.size()) reject(where + " names region " + std::to_string(v.region));
  if (v.dtype > static_cast<uint32_t>(DType::f64)) reject(where + " has unknown dtype " + std::to_string(v.dtype));
  if (v.rank > kMaxRank) reject(where + " has rank " + std::to_string(v.rank));
  Tensor t{};
  t.dtype = static_cast<DType>(v.dtype);
  t.value = id;
  t.region = v.region;
  t.rank = static_cast<int32_t>(v.rank);
  t.offset = v.offset;
  uint64_t size = 1;
  for (uint32_t axis = 0; axis < v.rank; axis++) {
    const int64_t dim = v.dims[axis];
    if (dim < 1 || static_cast<uint64_t>(dim) > kMaxElements) {
      reject(where + " has length " + std::to_string(dim) + " on axis " + std::to_string(axis));
    }
    t.dims[axis] = dim;
    // Both factors are at most 2^40 here, so the division keeps the product from wrapping.
    if (size > kMaxElements / static_cast<uint64_t>(dim)) reject(where + " has more than 2^40 elements");
    size *= static_cast<uint64_t>(dim);
  }
  t.size = static_cast<int64_t>(size);
  const DType wrongFloat = image.numerics == Numerics::fp64 ? DType::f32 : DType::f64;
  if (t.dtype == wrongFloat) reject(where + " is " + describe(t) + ", a float type foreign to this program's numerics");
  const bool isStep = image.kindOf(t) == RegionKind::step;
  if (v.offset % (isStep ? kAlignment : bytesOf(t.dtype)) != 0) {
    reject(where + " is not aligned: offset " + std::to_string(v.offset));
  }
  const uint64_t limit = image.regions[v.region].bytes;
  if (v.offset > limit || bytesOf(t) > limit - v.offset) {
    reject(where + " " + describe(t) + " at offset " + std::to_string(v.offset) + " leaves its region of " +
           std::to_string(limit) + " bytes");
  }
  return t;
}

const Tensor &valueOf(const Image &image, const Op &op, uint32_t id) {
  if (id >= image.values.size()) image.fail(op, "there is no value " + std::to_string(id));
  return image.values[id];
}

Op toOp(const Image &image, uint32_t index, const OpRecord &r) {
  if (r.opcode >= kOpCount) reject("op " + std::to_string(index) + " has unknown opcode " + std::to_string(r.opcode));
  Op op{};
  op.code = static_cast<OpCode>(r.opcode);
  op.index = index;
  op.fp64 = image.numerics == Numerics::fp64;
  op.numerics = image.numerics;
  const OpInfo &info = infoOf(op.code);
  if (r.inputs < static_cast<uint32_t>(info.fewestInputs) || r.inputs > static_cast<uint32_t>(info.mostInputs)) {
    image.fail(op, "has " + std::to_string(r.inputs) + " inputs, expected " + std::to_string(info.fewestInputs) +
                       (info.mostInputs > info.fewestInputs ? " to " + std::to_string(info.mostInputs) : ""));
  }
  if (r.outputs < static_cast<uint32_t>(info.fewestOutputs()) || r.outputs > static_cast<uint32_t>(info.outputs)) {
    image.fail(op, "has " + std::to_string(r.outputs) + " outputs, expected " + std::to_string(info.fewestOutputs()) +
                       (info.outputs > info.fewestOutputs() ? " to " + std::to_string(info.outputs) : ""));
  }
  if (r.epilogues > kMaxEpilogues) image.fail(op, "has " + std::to_string(r.epilogues) + " epilogues");
  op.inputs = static_cast<int32_t>(r.inputs);
  op.outputs = static_cast<int32_t>(r.outputs);
  op.epilogues = static_cast<int32_t>(r.epilogues);
  for (uint32_t i = 0; i < r.inputs; i++) op.in[i] = valueOf(image, op, r.in[i]);
  for (uint32_t i = 0; i < r.outputs; i++) {
    op.out[i] = valueOf(image, op, r.out[i]);
    op.lasting |= isExternal(image.kindOf(op.out[i]));
  }
  for (int i = 0; i < kMaxAttrs; i++) op.attr[i] = r.attrs[i];
  for (uint32_t i = 0; i < r.epilogues; i++) {
    const EpilogueRecord &e = r.epilogue[i];
    if (e.opcode >= kOpCount) image.fail(op, "epilogue has unknown opcode " + std::to_string(e.opcode));
    op.epilogue[i].code = static_cast<OpCode>(e.opcode);
    op.epilogue[i].hasOperand = e.value != kNoValue;
    if (op.epilogue[i].hasOperand) op.epilogue[i].operand = valueOf(image, op, e.value);
    op.epilogue[i].attr = e.attr;
  }
  return op;
}

std::vector<std::string> toLines(const uint8_t *text, size_t size) {
  std::vector<std::string> lines;
  const char *at = reinterpret_cast<const char *>(text), *end = at + size;
  while (at < end) {
    const void *found = std::memchr(at, '\n', static_cast<size_t>(end - at));
    const char *stop = found ? static_cast<const char *>(found) : end;
    lines.emplace_back(at, stop);
    at = stop + 1;
  }
  return lines;
}

}  // namespace

Image decode(const uint8_t *bytes, size_t size) {
  const ProgramHeader h = readHeader(bytes, size);
  Reader reader(bytes + sizeof h);
  Image image;
  image.numerics = static_cast<Numerics>(h.numerics);
  image.regions = reader.array<RegionRecord>(h.regions);
  checkRegions(image);
  const auto values = reader.array<ValueRecord>(h.values);
  const auto ops = reader.array<OpRecord>(h.ops);
  image.segments = reader.array<SegmentRecord>(h.segments);
  image.inputs = reader.array<uint32_t>(h.inputs);
  image.outputs = reader.array<uint32_t>(h.outputs);
  if ((h.inputs + h.outputs) % 2) reader.next<uint32_t>();
  image.sites = toLines(reader.rest(), h.siteBytes);

  image.values.reserve(values.size());
  for (uint32_t i = 0; i < h.values; i++) image.values.push_back(toTensor(image, i, values[i]));
  for (const OpRecord &op : ops) image.siteOfOp.push_back(op.site);
  image.ops.reserve(ops.size());
  for (uint32_t i = 0; i < h.ops; i++) image.ops.push_back(toOp(image, i, ops[i]));
  for (const auto &ids : {image.inputs, image.outputs}) {
    for (uint32_t id : ids) {
      if (id >= image.values.size()) reject("its list of inputs and outputs names value " + std::to_string(id));
    }
  }
  return image;
}

const std::string &Image::site(uint32_t op) const {
  static const std::string unknown;
  return op < siteOfOp.size() && siteOfOp[op] < sites.size() ? sites[siteOfOp[op]] : unknown;
}

Error Image::errorAt(const Op &op, ErrorCode code, const std::string &what) const {
  const std::string name = infoOf(op.code).name, &where = site(op.index);
  Error error(
      code, "op " + std::to_string(op.index) + " (" + name + ")" + (where.empty() ? "" : " at " + where) + ": " + what);
  error.op = op.index;
  error.opName = name;
  error.site = where;
  return error;
}

void Image::fail(const Op &op, const std::string &what) const { throw errorAt(op, ErrorCode::program, what); }

const char *nameOf(RegionKind kind) {
  constexpr const char *kNames[kRegionKinds] = {"param", "opt", "state", "step",  "data",
                                                "grad",  "act", "input", "metric"};
  return kNames[static_cast<uint32_t>(kind)];
}

std::string describe(const Tensor &t) {
  constexpr const char *kNames[] = {"f32", "i32", "u8", "f64"};
  std::string text = std::string(kNames[static_cast<uint32_t>(t.dtype)]) + " [";
  for (int axis = 0; axis < t.rank; axis++) text += (axis ? "," : "") + std::to_string(t.dims[axis]);
  return text + "]";
}

std::string place(const Op &op, const Tensor &t) {
  for (int i = 0; i < op.inputs; i++) {
    if (&op.in[i] == &t) return "input " + std::to_string(i);
  }
  for (int i = 0; i < op.outputs; i++) {
    if (&op.out[i] == &t) return "output " + std::to_string(i);
  }
  for (int i = 0; i < op.epilogues; i++) {
    if (&op.epilogue[i].operand == &t) return "operand of epilogue " + std::to_string(i);
  }
  return "value " + std::to_string(t.value);
}

}  // namespace gradline
