// The host code of the backend on the emulated card, through the table that the core calls: runs of many steps in every
// graph mode, faults, profiles, what is missing on a machine, and each call of the runtime failing once. Its program is
// a layer, softmax cross-entropy and Adam.
#include <array>
#include <cstring>

#include "../../native/cuda/emulator/fibers.h"
#include "../../native/cuda/emulator/runtime.h"
#include "tests.h"

extern "C" const gradline::Backend *gradline_backend();

namespace gradline::cuda::test {
namespace {

using emulator::trouble;

constexpr int64_t kRows = 6, kIn = 8, kClasses = 4, kWeights = kIn * kClasses;

struct Setup {
  GraphMode graph = GraphMode::on;
  uint64_t steps = 0;
  int32_t label = 0;        // of the first row
  uint64_t stopAfter = ~0;  // times that the sign of a stop is looked at
  bool profile = false;
  bool wide = false;  // so large a stage that several blocks share the program
};

struct Outcome {
  std::string error;  // the first thing that failed
  int32_t failure = 0;
  std::vector<float> weights, losses;
  uint64_t completed = 0;
  RunStatus status = {};
  std::vector<double> seconds;
  std::vector<std::string> plans;

  bool operator==(const Outcome &other) const {
    return error == other.error && weights == other.weights && losses == other.losses;
  }
};

// A device with one program, as the core holds them; everything ends with it, whatever failed.
class Session {
 public:
  explicit Session(const Setup &setup) : setup_(setup) {
    DeviceOptions options = {};
    options.graph = setup.graph;
    ErrorText text = {};
    device_ = backend().open(&options, &text);
    if (!device_) outcome_.error = text.text;
  }
  ~Session() {
    if (executable_) backend().destroy(executable_);
    for (void *memory : memory_) backend().release(device_, memory);
    if (device_) backend().close(device_);
  }
  static const Backend &backend() { return *gradline_backend(); }

  bool load() {
    if (!device_) return false;
    StepState state = {};
    state.rate = 0.01;
    state.rateFactor = 1;
    std::vector<float> x(kRows * kIn), w(kWeights);
    for (size_t i = 0; i < x.size(); i++) x[i] = static_cast<float>(normal(1)(i));
    for (size_t i = 0; i < w.size(); i++) w[i] = static_cast<float>(normal(2)(i));
    labels_ = {setup_.label, 1, 2, 3, 0, 1};
    const Tensor step = tensor(&state, sizeof state, DType::u8, {int64_t{sizeof state}});
    const Tensor input = tensor(x.data(), x.size() * 4, DType::f32, {kRows, kIn});
    weights_ = tensor(w.data(), w.size() * 4, DType::f32, {kIn, kClasses});
    label_ = tensor(labels_.data(), labels_.size() * 4, DType::i32, {kRows});
    const Tensor m = value({kIn, kClasses}), v = value({kIn, kClasses}), g = value({kIn, kClasses});
    const Tensor logits = value({kRows, kClasses}), losses = value({kRows}), p = value({kRows, kClasses});
    const Tensor share = value({kRows}), dlogits = value({kRows, kClasses}), loss = value({1});
    add(OpCode::advance, {step}, {step}, {kRows, 0});
    add(OpCode::matmul, {input, weights_}, {logits}, {0, 0});
    add(OpCode::softmaxCrossEntropy, {logits, label_}, {losses, p});
    add(OpCode::sum, {losses}, {loss}, {1});
    add(OpCode::fill, {}, {share}, {1.0 / kRows});
    add(OpCode::softmaxCrossEntropyGrad, {share, p, label_}, {dlogits});
    add(OpCode::matmul, {input, dlogits}, {g}, {1, 0});
    add(OpCode::prepareUpdate, {step, g}, {step}, {1.5, 0, 0, 0});
    add(OpCode::adamUpdate, {weights_, m, v, g, step}, {weights_, m, v}, {0, 0.9, 0.999, 1e-8});
    constexpr int64_t kMany = 20 * 1024;
    if (setup_.wide) add(OpCode::randomUniform, {step}, {value({kMany})}, {0, 1, 0});
    if (failed()) return false;
    // Compiled without addresses, as the core does it.
    std::vector<Op> bound = ops_;
    for (Op &op : ops_) {
      for (Tensor &t : op.in) t.data = nullptr;
      for (Tensor &t : op.out) t.data = nullptr;
    }
    ErrorText text = {};
    executable_ = backend().compile(device_, ops_.data(), static_cast<uint32_t>(ops_.size()), Numerics::fp32, &text);
    if (!executable_) {
      outcome_.error = text.text;
      return false;
    }
    for (uint32_t i = 0; i < ops_.size(); i++) outcome_.plans.emplace_back(backend().plan(executable_, i).text);
    void *workspace = allocate(backend().workspace(executable_));
    if (failed() || !workspace) return false;
    std::copy(bound.begin(), bound.end(), ops_.begin());
    backend().bind(executable_, workspace, loss.data, sizeof(float));
    return !failed();
  }

  void setLabel(int32_t label) { backend().write(device_, label_.data, &label, sizeof label); }

  void run(uint64_t steps) {
    outcome_.losses.resize(outcome_.losses.size() + steps);
    const StopSign sign = {[](const void *left) { return (*static_cast<uint64_t *>(const_cast<void *>(left)))-- == 0; },
                           &setup_.stopAfter};
    outcome_.status = {};
    const bool stops = setup_.stopAfter < steps;  // else a run that ends early lets others have their turn
    for (uint64_t done = 0, now = 1; done < steps && now > 0; done += now) {
      float *results = outcome_.losses.data() + outcome_.losses.size() - steps + done;
      now = backend().run(executable_, steps - done, results, sign, &outcome_.status);
      outcome_.completed += now;
      if (failed() || stops) break;
    }
  }

  void profile() {
    outcome_.seconds.resize(ops_.size(), -1);
    backend().step(executable_, &outcome_.status, outcome_.seconds.data());
    backend().step(executable_, &outcome_.status, nullptr);
    (void)failed();
  }

  Outcome &look() {
    if (device_ && weights_.data && outcome_.error.empty()) {
      outcome_.weights.resize(kWeights);
      backend().read(device_, outcome_.weights.data(), weights_.data, kWeights * sizeof(float));
      (void)failed();
    }
    return outcome_;
  }

  bool failed() {
    ErrorText text = {};
    const int32_t failure = backend().failure(device_, &text);
    if (failure == 0) return !outcome_.error.empty();
    outcome_.failure = failure;
    if (outcome_.error.empty()) outcome_.error = text.text;
    return true;
  }
  void *device() { return device_; }

 private:
  void *allocate(size_t bytes) {
    void *memory = outcome_.error.empty() ? backend().alloc(device_, bytes) : nullptr;
    if (memory) memory_.push_back(memory);
    if (!failed() && !memory) outcome_.error = "out of memory";
    return memory;
  }
  Tensor tensor(const void *content, size_t bytes, DType dtype, Shape shape) {
    Tensor t = {};
    t.dtype = dtype;
    t.size = 1;
    for (const int64_t length : shape) {
      t.dims[t.rank++] = length;
      t.size *= length;
    }
    t.data = allocate(bytes);
    if (t.data && content) backend().write(device_, t.data, content, bytes);
    return t;
  }
  Tensor value(Shape shape) {
    int64_t size = 1;
    for (const int64_t length : shape) size *= length;
    return tensor(nullptr, static_cast<size_t>(size) * 4, DType::f32, std::move(shape));
  }
  void add(OpCode code, std::vector<Tensor> in, std::vector<Tensor> out, std::vector<double> attributes = {}) {
    Op op = {};
    op.code = code;
    op.index = static_cast<uint32_t>(ops_.size());
    for (const Tensor &t : in) op.in[op.inputs++] = t;
    for (const Tensor &t : out) op.out[op.outputs++] = t;
    for (size_t i = 0; i < attributes.size(); i++) op.attr[i] = attributes[i];
    op.segments = &segment_;
    op.segmentCount = 1;
    ops_.push_back(op);
  }

  Setup setup_;
  Outcome outcome_;
  void *device_ = nullptr, *executable_ = nullptr;
  std::vector<void *> memory_;
  std::array<int32_t, kRows> labels_ = {};
  Tensor weights_ = {}, label_ = {};
  std::vector<Op> ops_;
  const SegmentRecord segment_ = {0, 0, 0, kWeights, 1, 0.01, 0, 0};
};

Outcome play(const Setup &setup) {
  Session session(setup);
  if (session.load()) {
    if (setup.steps > 0) session.run(setup.steps);
    if (setup.profile) session.profile();
  }
  return session.look();
}

void expect(const char *name, bool holds, const std::string &what) {
  if (!holds) failed(name, what);
}
void expectText(const char *name, const std::string &text, const char *part) {
  expect(name, text.find(part) != std::string::npos, "says \"" + text + "\", expected \"" + part + "\"");
}
void expectNothingLeft(const char *name) {
  expect(name, emulator::liveObjects() == 0, std::to_string(emulator::liveObjects()) + " objects are left");
  expect(name, emulator::findings().empty(), emulator::findings().empty() ? "" : emulator::findings()[0]);
  emulator::findings().clear();
}

void testModes() {
  const char *name = "graph modes";
  const Outcome graph = play({GraphMode::on, 150});
  Setup wide = {GraphMode::on, 150};
  wide.wide = true;
  for (const int multiprocessors : {1, 2, 3, 4}) {
    trouble().multiprocessors = multiprocessors;
    expect(name, play(wide) == graph, "other bits on " + std::to_string(multiprocessors) + " multiprocessors");
  }
  trouble() = {};
  expect(name, graph.error.empty() && graph.completed == 150, "a run of 150 steps ends with: " + graph.error);
  expect(name, graph.losses.front() > 2 * graph.losses.back(), "the loss does not fall");
  for (const GraphMode mode : {GraphMode::off, GraphMode::check, GraphMode::on, GraphMode::unmerged})
    expect(name, play({mode, 150}) == graph, "other bits in mode " + std::to_string(static_cast<int>(mode)));
  for (const emulator::Order order : {emulator::Order::reverse, emulator::Order::random, emulator::Order::forward}) {
    emulator::setOrder(order, 5);
    expect(name, play({GraphMode::on, 150}) == graph, "other bits when threads run in another order");
  }
  expectText(name, graph.plans[3], "ShortRows<AddUp> 1x256 (node 1/1)");
  const Outcome profiled = play({GraphMode::on, 3, 0, ~uint64_t{0}, true});
  for (const double seconds : profiled.seconds) expect(name, seconds >= 0, "an op has no time");
  Setup stopping = {GraphMode::on, 1000};
  stopping.stopAfter = 3;
  const Outcome stopped = play(stopping);
  expect(name, stopped.completed > 0 && stopped.completed < 1000,
         "a stop is not heard: " + std::to_string(stopped.completed) + " steps " + stopped.error);
  expectNothingLeft(name);
}

void testFaults() {
  const char *name = "a fault in a run";
  for (const GraphMode mode : {GraphMode::on, GraphMode::off, GraphMode::check, GraphMode::unmerged}) {
    {
      Session session({mode});
      session.load();
      session.run(40);
      const std::vector<float> before = session.look().weights;
      session.setLabel(77);
      session.run(40);
      const Outcome &bad = session.look();
      expect(name, bad.completed == 40 && bad.weights == before, "steps behind it change something");
      expect(name,
             bad.status.fault == int32_t(Fault::labelOutOfRange) && bad.status.op == 2 && bad.status.row == 0 &&
                 bad.status.got == 77 && bad.status.limit == kClasses,
             "is reported as " + std::to_string(bad.status.got) + " of op " + std::to_string(bad.status.op));
      session.setLabel(0);
      session.run(3);
      expect(name, session.look().completed == 43 && session.look().status.fault == 0, "is not over with good data");
    }
    expectNothingLeft(name);
  }
}

void testMissing() {
  const char *name = "a machine that lacks something";
  const emulator::Trouble whole = trouble();
  const auto opening = [&](int32_t index = 0) {
    DeviceOptions options = {};
    options.index = index;
    ErrorText text = {};
    void *device = Session::backend().open(&options, &text);
    if (device) Session::backend().close(device);
    return std::string(device ? "" : text.text);
  };
  expect(name, Session::backend().count() == 1, "counts no card");
  expectText(name, opening(3), "there is no cuda:3, this machine has cuda:0");
  trouble().devices = 4;
  expectText(name, opening(7), "cuda:0 to cuda:3");
  trouble().devices = 0;
  expectText(name, opening(), "finds no card");
  expect(name, Session::backend().count() == 0, "counts a card where there is none");
  trouble() = whole;
  trouble().driver = 0;
  expectText(name, opening(), "no NVIDIA driver");
  trouble().driver = 12040;
  expectText(name, opening(), "supports CUDA 12.4, this library needs 13.0 or newer");
  trouble() = whole;
  trouble().major = 7;
  expectText(name, opening(), "compute capability 7.0, needed is 8.0");
  trouble() = whole;
  trouble().memory = 2048;
  const Outcome small = play({GraphMode::on, 1});
  expectText(name, small.error, "out of memory");
  expect(name, small.failure == 0, "is a failure of the device when only memory is short");
  trouble() = whole;
  expectNothingLeft(name);
}

// A library for products is opened with the device and closed with it; what it says is passed on.
void testLibrary() {
  const char *name = "a library for products";
  static int32_t opened, code;
  opened = code = 0;
  GlBlas blas = {};
  blas.name = "stand-in";
  blas.abi = GL_BLAS_ABI;
  blas.size = sizeof blas;
  blas.open = [](void **) { return opened += code == 0, code; };
  blas.close = [](void *) { return --opened; };
  blas.text = [](int32_t) { return "it is of no use"; };
  DeviceOptions options = {};
  options.blas = &blas;
  ErrorText text = {};
  void *device = Session::backend().open(&options, &text);
  expect(name, device && opened == 1, "is not opened");
  if (device) Session::backend().close(device);
  expect(name, opened == 0, "is not closed");
  code = 1;
  expect(name, !Session::backend().open(&options, &text), "is used although it failed");
  expectText(name, text.text, "could not open stand-in: it is of no use");
  blas.abi++;
  expect(name, !Session::backend().open(&options, &text), "is used although it is of another release");
  expectText(name, text.text, "belongs to another release");
  expectNothingLeft(name);
}

// Programs that this backend cannot run are refused with the op that stands in the way.
void testRefusals() {
  const char *name = "a program that is refused";
  {
    Session session({});
    ErrorText text = {};
    Op op = {};
    expect(name, !Session::backend().compile(session.device(), &op, 0, Numerics::fp64, &text), "is taken");
    expectText(name, text.text, "float64 programs run on ref");
    op.code = OpCode::batchNorm;
    op.index = 3;
    op.inputs = 1;
    op.in[0].rank = 2;
    op.in[0].dims[1] = 5;
    op.epilogues = 1;
    op.epilogue[0].code = OpCode::relu;
    expect(name, !Session::backend().compile(session.device(), &op, 1, Numerics::fp32, &text), "is taken");
    expectText(name, text.text, "op 3, batchNorm of [0, 5] then relu, has no CUDA kernel in this form");
    ErrorText about = {};
    Session::backend().describe(session.device(), &about);
    expectText(name, about.text, "cuda:0 emulated card, compute capability 9.0");
    Session::backend().park(session.device());
    expect(name, Session::backend().threads(session.device()) == 1 && Session::backend().peak(session.device(), 1) == 0,
           "asks a card for its threads");
  }
  expectNothingLeft(name);
}

// Each call of the runtime fails once, in a way that the card recovers from and in one that it does not. Either the
// caller is told, or nothing was lost.
void testInjection() {
  const char *name = "a call that fails";
  for (const GraphMode mode : {GraphMode::on, GraphMode::off, GraphMode::check, GraphMode::unmerged}) {
    const Setup setup = {mode, 3, 0, ~uint64_t{0}, mode == GraphMode::on, mode == GraphMode::check};
    const uint64_t before = emulator::calls();
    const Outcome clean = play(setup);
    const uint64_t calls = emulator::calls() - before;
    for (const cudaError_t with : {cudaErrorInvalidValue, cudaErrorLaunchFailure}) {
      uint64_t told = 0;
      for (uint64_t i = 1; i <= calls; i++) {
        trouble().failAt = i;
        trouble().with = with;
        const Outcome outcome = play(setup);
        trouble() = {};
        const std::string where = std::to_string(i) + " of " + std::to_string(calls);
        told += !outcome.error.empty();
        expect(name, !outcome.error.empty() || outcome == clean, "is hidden: call " + where);
        if (!outcome.error.empty() && with == cudaErrorLaunchFailure && outcome.failure != 0)
          expectText(name, outcome.error, "the card is lost");
        expectNothingLeft(name);
      }
      expect(name, told > calls / 2, "is told of " + std::to_string(told) + " of " + std::to_string(calls) + " only");
    }
  }
  // A failure that the card survives: the next run of the same program counts anew.
  {
    Session session({});
    session.load();
    session.run(5);
    trouble().failAt = 2;
    trouble().with = cudaErrorInvalidValue;
    session.run(5);
    expect(name, !session.look().error.empty(), "is hidden in a run");
  }
  trouble() = {};
  expectNothingLeft(name);
}

// The emulated runtime refuses what a card would refuse or, worse, forgive.
void testRuntime() {
  const char *name = "the emulated runtime";
  cudaStream_t stream;
  cudaGraph_t graph = nullptr;
  void *memory, *other;
  char bytes[64] = {};
  expect(name, !cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) && !cudaMalloc(&memory, 64),
         "refuses memory");
  expect(name, cudaMemcpyAsync(memory, bytes, 65, cudaMemcpyHostToDevice, stream), "copies beyond the end");
  expect(name, cudaMemcpyAsync(bytes, bytes, 8, cudaMemcpyDeviceToHost, stream), "takes host memory for its own");
  expect(name, cudaMemsetAsync(bytes, 0, 8, stream), "fills host memory");
  expect(name, !cudaMemsetAsync(memory, 3, 8, stream) && bytes[0] == 0, "fills at once");
  expect(name, !cudaMemcpyAsync(bytes, memory, 8, cudaMemcpyDeviceToHost, stream) && bytes[0] == 3, "does not copy");
  cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
  expect(name, cudaMalloc(&other, 64) == cudaErrorStreamCaptureUnsupported, "allocates in a capture");
  expect(name, cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureInvalidated, "keeps a spoilt capture");
  expect(name, cudaStreamEndCapture(stream, &graph), "ends a capture twice");
  cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
  expect(name, cudaMemcpyAsync(memory, bytes, 8, cudaMemcpyHostToDevice, stream), "captures pageable memory");
  (void)cudaStreamEndCapture(stream, &graph);
  expect(name, !cudaMemsetAsync(memory, 0, 8, stream) && !cudaFree(memory), "frees too early");
  expect(name, cudaFree(memory), "frees twice");
  expect(name, cudaLaunchKernel(nullptr, dim3(1), dim3(33), nullptr, 0, stream), "runs blocks of no whole warps");
  cudaStreamDestroy(stream);
  expect(name, cudaStreamSynchronize(stream), "waits for a stream that is gone");
  expect(name, cudaStreamDestroy(stream), "destroys twice");
  (void)cudaGetLastError();
  expectNothingLeft(name);
}

}  // namespace

void testHost() {
  testRuntime();
  testModes();
  testFaults();
  testMissing();
  testLibrary();
  testRefusals();
  testInjection();
}

}  // namespace gradline::cuda::test
