// See harness.h.
#include "harness.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "../../native/cuda/emulator/fibers.h"
#include "../../native/ref/table.h"
#include "products.h"

namespace gradline::cuda::test {
namespace {

int caseCount = 0, expectationCount = 0, failureCount = 0;
const double kUnit = std::ldexp(1.0, -24);

size_t sizeOf(DType dtype) { return dtype == DType::u8 ? 1 : dtype == DType::f64 ? 8 : 4; }

double load(const Tensor &t, const unsigned char *bytes, int64_t i) {
  if (t.dtype == DType::f32) return reinterpret_cast<const float *>(bytes)[i];
  if (t.dtype == DType::i32) return reinterpret_cast<const int32_t *>(bytes)[i];
  if (t.dtype == DType::f64) return reinterpret_cast<const double *>(bytes)[i];
  return bytes[i];
}

Tensor tensorOf(DType dtype, const Shape &shape, uint32_t value) {
  Tensor t = {};
  t.dtype = dtype;
  t.value = value;
  t.rank = static_cast<int32_t>(shape.size());
  t.size = 1;
  for (size_t axis = 0; axis < shape.size(); axis++) {
    t.dims[axis] = shape[axis];
    t.size *= shape[axis];
  }
  return t;
}

bool isStep(const Tensor &t) { return t.dtype == DType::u8 && t.size == int64_t{sizeof(StepState)}; }

}  // namespace

double uniform(uint64_t seed, uint64_t i) {  // splitmix64 (Steele, Lea, Flood 2014)
  uint64_t z = seed * 0x632BE59BD9B4E019u + (i + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return static_cast<double>((z ^ z >> 31) >> 11) * 0x1p-53;
}
Values normal(uint64_t seed) {
  return [=](uint64_t i) {
    return std::sqrt(-2 * std::log(1 - uniform(seed, 2 * i))) * std::cos(6.283185307179586 * uniform(seed, 2 * i + 1));
  };
}
Values between(double low, double high, uint64_t seed) {
  return [=](uint64_t i) { return low + (high - low) * uniform(seed, i); };
}
Values integers(int low, int high, uint64_t seed) {
  return [=](uint64_t i) { return low + std::floor(uniform(seed, i) * (high - low + 1)); };
}
Values wild(uint64_t seed) {
  return [=](uint64_t i) { return std::pow(10, between(-6, 6, seed)(i)) * (uniform(seed + 1, i) < 0.5 ? -1 : 1); };
}
Values constant(double value) {
  return [=](uint64_t) { return value; };
}

void failed(const std::string &name, const std::string &what) {
  failureCount++;
  std::printf("FAILED %s: %s\n", name.c_str(), what.c_str());
}
void expect(const char *name, bool holds, const std::string &what) {
  expectationCount++;
  if (!holds) failed(name, what);
}
int cases() { return caseCount; }
int expectations() { return expectationCount; }
int failures() { return failureCount; }

Tensor matrix(int64_t rows, int64_t columns) {
  Tensor t = {};
  t.rank = 2;
  t.dims[0] = rows;
  t.dims[1] = columns;
  t.size = rows * columns;
  return t;
}

Tolerance ofProducts(Numerics numerics, int64_t length) {
  const double rounding = numerics == Numerics::tf32 ? 0x1p-11 : numerics == Numerics::bf16 ? 0x1p-8 : 0;
  return {false, 8, (2 * rounding + rounding * rounding) / kUnit + 8 * std::sqrt(static_cast<double>(length))};
}

Case::Case(std::string name, OpCode code) : name_(std::move(name)), plan_(plannerOf(code)) { op_.code = code; }

Case &Case::attr(int index, double value) {
  op_.attr[index] = value;
  return *this;
}
Case &Case::in(DType dtype, Shape shape, const Values &values) {
  Operand operand = {tensorOf(dtype, shape, static_cast<uint32_t>(in_.size())), {}};
  const int64_t n = operand.tensor.size;
  operand.bytes.resize(static_cast<size_t>(n) * sizeOf(dtype));
  for (int64_t i = 0; i < n; i++) {
    const double value = values(static_cast<uint64_t>(i));
    if (dtype == DType::f32) reinterpret_cast<float *>(operand.bytes.data())[i] = static_cast<float>(value);
    if (dtype == DType::i32) reinterpret_cast<int32_t *>(operand.bytes.data())[i] = static_cast<int32_t>(value);
    if (dtype == DType::u8) operand.bytes[static_cast<size_t>(i)] = static_cast<unsigned char>(value);
  }
  in_.push_back(std::move(operand));
  return *this;
}
Case &Case::step(const StepState &state) {
  in(DType::u8, {int64_t{sizeof state}}, constant(0));
  std::memcpy(in_.back().bytes.data(), &state, sizeof state);
  return *this;
}
Case &Case::out(DType dtype, Shape shape) {
  out_.push_back({tensorOf(dtype, shape, static_cast<uint32_t>(100 + out_.size())), {}});
  out_.back().bytes.resize(static_cast<size_t>(out_.back().tensor.size) * sizeOf(dtype), 0xff);
  return *this;
}
Case &Case::effect(int input) {
  out_.push_back(in_[static_cast<size_t>(input)]);
  out_.back().aliasOf = input;
  return *this;
}
Case &Case::inPlace(int input) {
  effect(input);
  out_.back().ontop = true;
  return *this;
}
Case &Case::segments(std::vector<SegmentRecord> records) {
  segments_ = std::move(records);
  return *this;
}
Case &Case::epilogue(OpCode code, double attr) {
  Epilogue &e = op_.epilogue[op_.epilogues++];
  e.code = code;
  e.attr = attr;
  epilogue_.push_back({});
  return *this;
}
Case &Case::epilogue(OpCode code, Shape operand, const Values &values, double attr) {
  epilogue(code, attr);
  op_.epilogue[op_.epilogues - 1].hasOperand = true;
  in(std::move(operand), values);
  epilogue_.back() = std::move(in_.back());
  in_.pop_back();
  return *this;
}
Case &Case::epilogueBelow(OpCode code, const Values &values, double attr) {
  const Tensor &y = out_[0].tensor;
  below_ = op_.epilogues;
  return epilogue(code, Shape(y.dims, y.dims + y.rank), values, attr);
}
Case &Case::library(uint32_t epilogues) {
  library_ = epilogues;
  return *this;
}
Case &Case::numerics(Numerics numerics) {
  op_.numerics = numerics;
  return *this;
}
Case &Case::plannedBy(PlanFn plan) {
  plan_ = plan;
  return *this;
}
Case &Case::partial() {
  partial_ = true;
  return *this;
}

// Runs the oracle on copies and gives the outputs as doubles, and those of the float oracle as bytes, one after
// another.
std::vector<unsigned char> Case::oracle(bool fp64, bool absolute, std::vector<std::vector<double>> &results,
                                        RunStatus &status) const {
  Op op = op_;
  op.fp64 = fp64;
  op.status = &status;
  status = {};
  std::vector<std::vector<unsigned char>> memory;
  const auto bind = [&](const Operand &from) {
    const Tensor &t = from.tensor;
    Tensor bound = t;
    std::vector<unsigned char> bytes = from.bytes;
    if (t.dtype == DType::f32) {
      const float *x = reinterpret_cast<const float *>(from.bytes.data());
      if (fp64) {
        bytes.resize(static_cast<size_t>(t.size) * 8);
        bound.dtype = DType::f64;
      }
      for (int64_t i = 0; i < t.size; i++) {
        const float value = absolute ? std::fabs(x[i]) : x[i];
        if (fp64)
          reinterpret_cast<double *>(bytes.data())[i] = static_cast<double>(value);
        else
          reinterpret_cast<float *>(bytes.data())[i] = value;
      }
    }
    memory.push_back(std::move(bytes));
    bound.data = memory.back().data();
    return bound;
  };
  memory.reserve(in_.size() + out_.size() + epilogue_.size());
  op.inputs = static_cast<int32_t>(in_.size());
  op.outputs = static_cast<int32_t>(out_.size());
  for (size_t i = 0; i < in_.size(); i++) op.in[i] = bind(in_[i]);
  for (size_t i = 0; i < out_.size(); i++) op.out[i] = out_[i].aliasOf >= 0 ? op.in[out_[i].aliasOf] : bind(out_[i]);
  for (size_t i = 0; i < epilogue_.size(); i++)
    if (op.epilogue[i].hasOperand) op.epilogue[i].operand = bind(epilogue_[i]);
  op.segments = segments_.data();
  op.segmentCount = static_cast<int32_t>(segments_.size());
  (fp64 ? ref::f64 : ref::f32)[static_cast<uint32_t>(op.code)](op);
  std::vector<unsigned char> all;
  results.clear();
  for (size_t i = 0; i < out_.size(); i++) {
    const unsigned char *bytes = op.out[i].as<unsigned char>();
    all.insert(all.end(), bytes, bytes + static_cast<size_t>(op.out[i].size) * sizeOf(op.out[i].dtype));
    std::vector<double> values(static_cast<size_t>(op.out[i].size));
    for (int64_t j = 0; j < op.out[i].size; j++) values[static_cast<size_t>(j)] = load(op.out[i], bytes, j);
    results.push_back(std::move(values));
  }
  return all;
}

void Case::refused() {
  caseCount++;
  Op op = op_;
  op.inputs = static_cast<int32_t>(in_.size());
  op.outputs = static_cast<int32_t>(out_.size());
  for (size_t i = 0; i < in_.size(); i++) op.in[i] = in_[i].tensor;
  for (size_t i = 0; i < out_.size(); i++) op.out[i] = out_[i].tensor;
  Launches launches;
  if (plan_ && plan_(op, launches)) failed(name_, "expected the planner to refuse it");
}

void Case::check(Tolerance tolerance) {
  caseCount++;
  const PlanFn plan = plan_;
  if (!plan) return failed(name_, "no planner");
  RunStatus wantStatus, ignored;
  std::vector<std::vector<double>> want, exact, magnitude;
  const std::vector<unsigned char> wantBytes = oracle(false, false, want, wantStatus);
  if (!tolerance.exact) oracle(true, false, exact, ignored);
  if (tolerance.magnitude > 0) oracle(true, true, magnitude, ignored);

  std::vector<unsigned char> firstBytes;
  for (const emulator::Order order : {emulator::Order::forward, emulator::Order::reverse, emulator::Order::random}) {
    std::vector<void *> allocated;
    const auto allocate = [&](size_t bytes, const std::string &name, const void *from) {
      allocated.push_back(emulator::allocate(bytes, name.c_str()));
      if (from && bytes) std::memcpy(allocated.back(), from, bytes);
      return allocated.back();
    };
    Op op = op_;
    op.inputs = static_cast<int32_t>(in_.size());
    op.outputs = static_cast<int32_t>(out_.size());
    const auto describe = [&] {
      for (int i = 0; i < op.inputs; i++) op.in[i] = in_[static_cast<size_t>(i)].tensor;
      for (int i = 0; i < op.outputs; i++) op.out[i] = out_[static_cast<size_t>(i)].tensor;
      for (size_t i = 0; i < epilogue_.size(); i++) op.epilogue[i].operand = epilogue_[i].tensor;
      op.segments = segments_.data();
      op.segmentCount = static_cast<int32_t>(segments_.size());
      for (int i = 0; i < op.outputs && library_; i++) op.out[i].offset = static_cast<uint64_t>(i + 1) * kAlignment;
      if (below_ >= 0) op.epilogue[below_].operand.offset = op.out[0].offset;
    };
    describe();
    OfferedProducts products(library_);
    Launches launches;
    if (library_) launches.products = &products;
    if (!plan(op, launches)) return failed(name_, "the planner refused it");
    const size_t planned = launches.list.size(), workspace = launches.workspaceBytes;

    for (size_t i = 0; i < in_.size(); i++)
      op.in[i].data = allocate(in_[i].bytes.size(), "input " + std::to_string(i), in_[i].bytes.data());
    for (size_t i = 0; i < out_.size(); i++) {
      if (out_[i].aliasOf >= 0) {
        op.out[i].data = op.in[out_[i].aliasOf].data;
        continue;
      }
      op.out[i].data = allocate(out_[i].bytes.size(), "output " + std::to_string(i), nullptr);
      emulator::undefine(op.out[i].data, out_[i].bytes.size());
    }
    for (size_t i = 0; i < epilogue_.size(); i++)
      if (op.epilogue[i].hasOperand)
        op.epilogue[i].operand.data = allocate(epilogue_[i].bytes.size(), "epilogue", epilogue_[i].bytes.data());
    if (below_ >= 0) {
      const std::vector<unsigned char> &bytes = epilogue_[static_cast<size_t>(below_)].bytes;
      op.epilogue[below_].operand.data = op.out[0].data;
      std::memcpy(op.out[0].data, bytes.data(), bytes.size());
      emulator::define(op.out[0].data, bytes.size());
    }
    op.workspace = workspace ? allocate(workspace, "workspace", nullptr) : nullptr;
    if (workspace) emulator::undefine(op.workspace, workspace);
    launches = {};
    if (library_) launches.products = &products;
    launches.status = static_cast<DeviceStatus *>(allocate(sizeof(DeviceStatus), "status", nullptr));
    launches.segments = static_cast<const SegmentRecord *>(
        allocate(segments_.size() * sizeof(SegmentRecord), "segments", segments_.data()));
    plan(op, launches);
    if (launches.list.size() != planned || launches.workspaceBytes != workspace)
      failed(name_, "two plans of one op differ");

    emulator::setOrder(order, 7);
    emulator::findings().clear();
    for (const Launch &launch : launches.list) {
      if (launch.work == Work::gemm)
        products.run(productOf(launch));
      else
        emulator::run(launch);
    }
    if (library_ && products.made == 0) failed(name_, "the library made no product");
    for (const std::string &finding : emulator::findings()) failed(name_, finding);
    const RunStatus status = launches.status->first;
    if (status.fault != wantStatus.fault ||
        (status.fault &&
         (status.row != wantStatus.row || status.got != wantStatus.got || status.limit != wantStatus.limit)))
      failed(name_, "reports fault " + std::to_string(status.fault) + " at " + std::to_string(status.row) +
                        ", expected " + std::to_string(wantStatus.fault) + " at " + std::to_string(wantStatus.row));

    std::vector<unsigned char> bytes;
    for (size_t i = 0; i < out_.size(); i++) {
      const unsigned char *from = op.out[i].as<unsigned char>();
      const size_t size = out_[i].bytes.size();
      if (!partial_ && !status.fault && !emulator::isDefined(from, size))
        failed(name_, "output " + std::to_string(i) + " is not written everywhere");
      bytes.insert(bytes.end(), from, from + size);
    }
    if (order == emulator::Order::forward) {
      firstBytes = bytes;
      result_.clear();
      for (int64_t j = 0; j < out_[0].tensor.size; j++) result_.push_back(load(out_[0].tensor, bytes.data(), j));
      if (!status.fault) {
        size_t at = 0;
        for (size_t i = 0; i < out_.size(); i++) {
          const Tensor &t = out_[i].tensor;
          const bool bits = tolerance.exact || t.dtype != DType::f32;
          int reported = 0;
          if (isStep(t) && std::memcmp(&bytes[at], &wantBytes[at], sizeof(StepState)) == 0) {
            at += out_[i].bytes.size();
            continue;
          }
          for (int64_t j = 0; j < t.size && reported < 3; j++) {
            const size_t s = static_cast<size_t>(j);
            const double got = load(t, &bytes[at], j), expected = bits ? want[i][s] : exact[i][s];
            double bound = 0;
            if (!bits) {
              bound = tolerance.c * kUnit * std::fabs(expected) + tolerance.absolute;
              if (tolerance.magnitude > 0) bound += tolerance.magnitude * kUnit * std::fabs(magnitude[i][s]);
              if (!std::isfinite(bound)) bound = 0;
            }
            const bool same =
                std::isnan(expected) ? std::isnan(got) : got == expected || std::fabs(got - expected) <= bound;
            if (same) continue;
            reported++;
            char text[200];
            std::snprintf(text, sizeof text, "output %zu [%lld] is %.9g, expected %.9g within %.3g", i,
                          static_cast<long long>(j), got, expected, bound);
            failed(name_, text);
          }
          at += out_[i].bytes.size();
        }
      }
    } else if (bytes != firstBytes && !status.fault) {
      failed(name_, "other bits when threads run in another order");
    }
    for (void *memory : allocated) emulator::release(memory);
  }
}

}  // namespace gradline::cuda::test
