// See session.h.
#include "session.h"

#include "../../native/cuda/emulator/fibers.h"
#include "../../native/cuda/emulator/runtime.h"

namespace gradline::cuda::test {

Session::Session(const Setup &setup) : setup_(setup) {
  DeviceOptions options = {};
  options.graph = setup.graph;
  options.blas = setup.blas;
  options.blasNeeded = setup.blasNeeded;
  options.tune = setup.tune;
  ErrorText text = {};
  device_ = backend().open(&options, &text);
  if (!device_) outcome_.error = text.text;
}

Session::~Session() {
  if (executable_) backend().destroy(executable_);
  for (void *slot : slots_) backend().unpin(device_, slot);
  for (void *memory : memory_) backend().release(device_, memory);
  if (device_) backend().close(device_);
}

bool Session::load() {
  if (!device_) return false;
  StepState state = {};
  state.rate = 0.01;
  state.rateFactor = 1;
  std::vector<float> x(kBatchBytes / 4), w(kWeights);
  for (size_t i = 0; i < x.size(); i++) x[i] = static_cast<float>(normal(1)(i));
  for (size_t i = 0; i < w.size(); i++) w[i] = static_cast<float>(normal(2)(i));
  labels_ = {setup_.label, 1, 2, 3, 0, 1};
  const Tensor step = tensor(&state, sizeof state, DType::u8, {int64_t{sizeof state}});
  const Tensor input = input_ = tensor(x.data(), kBatchBytes, DType::f32, {kRows, kIn});
  weights_ = tensor(w.data(), w.size() * 4, DType::f32, {kIn, kClasses});
  label_ = tensor(nullptr, labels_.size() * 4, DType::i32, {kRows});
  if (failed()) return false;
  label_.data = input_.as<char>() + kLabelsAt;
  backend().write(device_, label_.data, labels_.data(), labels_.size() * 4);
  const Tensor m = value({kIn, kClasses}), v = value({kIn, kClasses}), g = value({kIn, kClasses});
  const Tensor logits = value({kRows, kClasses}), losses = value({kRows}), p = value({kRows, kClasses});
  const Tensor share = value({kRows}), dlogits = value({kRows, kClasses}), loss = value({1});
  const Tensor bias = value({kClasses}), sums = value({kClasses});
  add(OpCode::advance, {step}, {step}, {kRows, 0});
  Op &layer = add(OpCode::matmul, {input, weights_}, {logits}, {0, 0});
  layer.epilogues = 2;
  layer.epilogue[0] = {OpCode::add, true, bias, 0};
  layer.epilogue[1] = {OpCode::leakyRelu, false, {}, 0.5};
  add(OpCode::softmaxCrossEntropy, {logits, label_}, {losses, p});
  add(OpCode::sum, {losses}, {loss}, {1});
  add(OpCode::fill, {}, {share}, {1.0 / kRows});
  add(OpCode::softmaxCrossEntropyGrad, {share, p, label_}, {dlogits});
  add(OpCode::matmul, {input, dlogits}, {g, sums}, {1, 0});
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
    for (Epilogue &e : op.epilogue) e.operand.data = nullptr;
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

void Session::run(uint64_t steps) {
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

void Session::feed(uint64_t batches, bool sync, bool late) {
  constexpr size_t kSlots = 3;
  struct Source {
    Session &session;
    uint64_t batches, taken = 0, done = 0;
    bool late;
    const void *next() {
      const uint64_t room = late ? 1 : kSlots;
      if (taken == batches || taken - done == room) return nullptr;
      auto *slot = static_cast<char *>(session.slots_[taken % kSlots]);
      session.fillBatch(slot, taken++);
      session.outcome_.order += 't';
      return slot;
    }
  } source = {*this, batches, 0, 0, late};
  outcome_.status = {};
  if (sync) {
    std::vector<char> batch(kBatchBytes);
    for (uint64_t i = 0; i < batches && !failed(); i++) {
      fillBatch(batch.data(), i);
      backend().write(device_, input_.data, batch.data(), kBatchBytes);
      run(1);
    }
    return;
  }
  while (slots_.size() < kSlots) {
    void *slot = backend().pin(device_, kBatchBytes);
    if (!slot) {
      if (!failed()) outcome_.error = "out of pinned memory";
      return;
    }
    slots_.push_back(slot);
  }
  const FeedPlace place = {input_.data, allocate(kStagings * kBatchBytes), kBatchBytes};
  if (!place.staging) return;
  const Feed feed = {[](void *context) { return static_cast<Source *>(context)->next(); },
                     [](void *context, const void *metrics) {
                       auto &self = *static_cast<Source *>(context);
                       self.done++;
                       Outcome &outcome = self.session.outcome_;
                       outcome.order += 'd';
                       outcome.completed++;
                       outcome.losses.push_back(*static_cast<const float *>(metrics));
                     },
                     &source};
  backend().feed(executable_, &place, &feed, &outcome_.status);
  (void)failed();
}

// Inputs and labels of a batch, each time others; the label of batch `badBatch` is one that fails.
void Session::fillBatch(char *to, uint64_t number) const {
  auto *x = reinterpret_cast<float *>(to);
  for (size_t i = 0; i < kLabelsAt / 4; i++) x[i] = static_cast<float>(normal(static_cast<int>(3 + number))(i));
  auto *labels = reinterpret_cast<int32_t *>(to + kLabelsAt);
  for (int i = 0; i < kRows; i++) labels[i] = (i + static_cast<int>(number)) % kClasses;
  if (number == setup_.badBatch) labels[0] = 77;
}

void Session::profile() {
  outcome_.seconds.resize(ops_.size(), -1);
  backend().step(executable_, &outcome_.status, outcome_.seconds.data());
  backend().step(executable_, &outcome_.status, nullptr);
  (void)failed();
}

Outcome &Session::look() {
  if (device_ && weights_.data && outcome_.error.empty()) {
    outcome_.weights.resize(kWeights);
    backend().read(device_, outcome_.weights.data(), weights_.data, kWeights * sizeof(float));
    (void)failed();
  }
  return outcome_;
}

bool Session::failed() {
  ErrorText text = {};
  const int32_t failure = backend().failure(device_, &text);
  if (failure == 0) return !outcome_.error.empty();
  outcome_.failure = failure;
  if (outcome_.error.empty()) outcome_.error = text.text;
  return true;
}

void *Session::allocate(size_t bytes) {
  void *memory = outcome_.error.empty() ? backend().alloc(device_, bytes) : nullptr;
  if (memory) memory_.push_back(memory);
  if (!failed() && !memory) outcome_.error = "out of memory";
  return memory;
}

Tensor Session::tensor(const void *content, size_t bytes, DType dtype, Shape shape) {
  Tensor t = {};
  t.dtype = dtype;
  t.size = 1;
  for (const int64_t length : shape) {
    t.dims[t.rank++] = length;
    t.size *= length;
  }
  t.data = allocate(bytes);
  t.offset = end_;
  end_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
  if (t.data && content) backend().write(device_, t.data, content, bytes);
  return t;
}

Tensor Session::value(Shape shape) {
  int64_t size = 1;
  for (const int64_t length : shape) size *= length;
  return tensor(nullptr, static_cast<size_t>(size) * 4, DType::f32, std::move(shape));
}

Op &Session::add(OpCode code, std::vector<Tensor> in, std::vector<Tensor> out, std::vector<double> attributes) {
  Op op = {};
  op.code = code;
  op.index = static_cast<uint32_t>(ops_.size());
  for (const Tensor &t : in) op.in[op.inputs++] = t;
  for (const Tensor &t : out) op.out[op.outputs++] = t;
  for (size_t i = 0; i < attributes.size(); i++) op.attr[i] = attributes[i];
  op.segments = &segment_;
  op.segmentCount = 1;
  ops_.push_back(op);
  return ops_.back();
}

void expectText(const char *name, const std::string &text, const char *part) {
  expect(name, text.find(part) != std::string::npos, "says \"" + text + "\", expected \"" + part + "\"");
}
void expectNothingLeft(const char *name) {
  expect(name, emulator::liveObjects() == 0, std::to_string(emulator::liveObjects()) + " objects are left");
  expect(name, emulator::findings().empty(), emulator::findings().empty() ? "" : emulator::findings()[0]);
  emulator::findings().clear();
}

Outcome play(const Setup &setup) {
  Session session(setup);
  if (session.load()) {
    if (setup.steps > 0) session.run(setup.steps);
    if (setup.batches > 0) session.feed(setup.batches);
    if (setup.profile) session.profile();
  }
  return session.look();
}

}  // namespace gradline::cuda::test
