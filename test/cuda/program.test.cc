// Ops one after the other, as a program runs them: ten training steps of a small network against the oracle, nothing
// but launches from one step to the next; and a step that meets a bad label, behind which nothing may change. Both
// launch by launch and merged into a sequence, which must make the same bits with any number of blocks.
#include <cmath>
#include <cstdio>
#include <cstring>

#include "../../native/cuda/emulator/fibers.h"
#include "../../native/cuda/merge.h"
#include "../../native/ref/table.h"
#include "tests.h"

namespace gradline::cuda::test {
namespace {

constexpr int64_t kSamples = 50, kBatch = 20, kClasses = 5;
constexpr int64_t kSlots = 4;

struct Widths {
  int64_t inputs, hidden;
};
constexpr Widths kSmall = {9, 33};
constexpr Widths kLarge = {520, 128};  // its first product is split, and the norm of its gradient summed by many blocks

// Parameters in their region, each at a multiple of 64 bytes.
struct Places {
  int64_t weight1, bias1, weight2, bias2, end;
};
Places placesOf(const Widths &w) {
  const auto next = [](int64_t at, int64_t size) { return (at + size + 15) / 16 * 16; };
  Places places = {};
  places.bias1 = next(0, w.inputs * w.hidden);
  places.weight2 = next(places.bias1, w.hidden);
  places.bias2 = next(places.weight2, w.hidden * kClasses);
  places.end = places.bias2 + kClasses;
  return places;
}

// One copy of the network's memory, on the emulated card or for the oracle.
class Network {
 public:
  // `multiprocessors` of the card, 0: launches are not merged.
  explicit Network(bool card, int multiprocessors = 0, const Widths &widths = kSmall)
      : card_(card),
        multiprocessors_(multiprocessors),
        inputs_(widths.inputs),
        hidden_(widths.hidden),
        weight1_(placesOf(widths).weight1),
        bias1_(placesOf(widths).bias1),
        weight2_(placesOf(widths).weight2),
        bias2_(placesOf(widths).bias2),
        parameterCount_(placesOf(widths).end) {
    const auto fill = [](float *x, int64_t n, const Values &values) {
      for (int64_t i = 0; i < n; i++) x[i] = static_cast<float>(values(static_cast<uint64_t>(i)));
    };
    step_ = make<StepState>(1);
    step_->seed = 42;
    step_->rate = 0.01;
    step_->rateFactor = 1;
    data_ = make<uint8_t>(kSamples * inputs_);
    labels_ = make<int32_t>(kSamples);
    for (int64_t i = 0; i < kSamples * inputs_; i++) data_[i] = static_cast<uint8_t>(integers(0, 255, 1)(uint64_t(i)));
    for (int64_t i = 0; i < kSamples; i++) labels_[i] = static_cast<int32_t>(integers(0, kClasses - 1, 2)(uint64_t(i)));
    parameters_ = make<float>(parameterCount_);
    fill(parameters_ + weight1_, inputs_ * hidden_, normal(3));
    fill(parameters_ + weight2_, hidden_ * kClasses, normal(4));
    m_ = make<float>(parameterCount_);
    v_ = make<float>(parameterCount_);
    gradient_ = make<float>(parameterCount_);
    status_ = make<DeviceStatus>(1);
    ring_ = make<float>(kSlots);
    segments_ = {{0, 0, weight1_, inputs_ * hidden_, 1, 0.01, 0, 0},
                 {0, 0, bias1_, hidden_, 1, 0, 0, 0},
                 {0, 0, weight2_, hidden_ * kClasses, 1, 0.01, 0, 0},
                 {0, 0, bias2_, kClasses, 1, 0, 0, 0}};
    if (card_) {
      cardSegments_ = make<SegmentRecord>(segments_.size());
      std::memcpy(cardSegments_, segments_.data(), segments_.size() * sizeof(SegmentRecord));
    }
    build();
  }
  ~Network() {
    for (void *memory : memory_) card_ ? emulator::release(memory) : std::free(memory);
  }

  void step() {
    if (!card_) {
      RunStatus status = {};
      for (Op &op : ops_) {
        op.status = &status;
        if (status.fault == 0) ref::f32[static_cast<uint32_t>(op.code)](op);
      }
      status_->first = status;
      if (status.fault == 0) ring_[status_->steps++ % kSlots] = loss_[0];
      return;
    }
    for (const Launch &launch : launches_) emulator::run(launch);
  }
  // As one launch, where they are one.
  void steps(int count) {
    if (!isWhole_) {
      for (int i = 0; i < count; i++) step();
      return;
    }
    Launch all = launches_[0];
    setSteps(all, static_cast<uint32_t>(count));
    emulator::run(all);
  }
  size_t nodes() const { return launches_.size(); }
  uint32_t blocks() const { return launches_[0].grid[0]; }
  int barriers() const { return barriers_; }
  // As if blocks had not to wait for each other at this barrier of a step. The last one, with what is made in it, is
  // the first of the next step too.
  void forgetBarrier(int barrier) {
    Stage *stages = reinterpret_cast<Stage *>(table_ + kAlignment);
    const size_t count = stages[0].argument * sizeof(uint32_t) / sizeof(Stage);
    int at = -1;
    for (size_t i = 0; i < count; i++) {
      if (stages[i].waits || i == 0) at++;
      if (at % barriers_ == barrier) stages[i].inGap = false;
      if (at % barriers_ == barrier) stages[i].waits = false;
    }
  }
  std::vector<float> parameters() const { return {parameters_, parameters_ + parameterCount_}; }
  std::vector<float> ring() const { return {ring_, ring_ + kSlots}; }
  StepState &state() { return *step_; }
  int32_t *labels() { return labels_; }
  const DeviceStatus &status() const { return *status_; }

 private:
  template <class T>
  T *make(size_t n) {
    memory_.push_back(card_ ? emulator::allocate(n * sizeof(T), "network") : std::calloc(n, sizeof(T)));
    return static_cast<T *>(memory_.back());
  }
  static Tensor at(void *data, DType dtype, Shape shape) {
    Tensor t = {};
    t.data = data;
    t.offset = reinterpret_cast<uintptr_t>(data);  // all of it as one region
    t.dtype = dtype;
    t.size = 1;
    for (const int64_t length : shape) {
      t.dims[t.rank++] = length;
      t.size *= length;
    }
    return t;
  }
  Tensor parameter(float *region, int64_t offset, Shape shape) { return at(region + offset, DType::f32, shape); }
  Tensor value(Shape shape, DType dtype = DType::f32) {
    int64_t size = 1;
    for (const int64_t length : shape) size *= length;
    float *memory = make<float>(static_cast<size_t>(size));
    if (card_) emulator::undefine(memory, static_cast<size_t>(size) * sizeof(float));
    return at(memory, dtype, shape);
  }
  Op &add(OpCode code, std::vector<Tensor> in, std::vector<Tensor> out, std::vector<double> attributes = {}) {
    Op op = {};
    op.code = code;
    op.index = static_cast<uint32_t>(ops_.size());
    for (const Tensor &t : in) op.in[op.inputs++] = t;
    for (const Tensor &t : out) op.out[op.outputs++] = t;
    for (size_t i = 0; i < attributes.size(); i++) op.attr[i] = attributes[i];
    op.segments = segments_.data();
    op.segmentCount = static_cast<int32_t>(segments_.size());
    ops_.push_back(op);
    return ops_.back();
  }
  static void epilogue(Op &op, OpCode code, const Tensor *operand) {
    Epilogue &e = op.epilogue[op.epilogues++];
    e.code = code;
    e.hasOperand = operand != nullptr;
    if (operand) e.operand = *operand;
  }

  void build() {
    const Tensor step = at(step_, DType::u8, {int64_t{sizeof(StepState)}});
    const Tensor w1 = parameter(parameters_, weight1_, {inputs_, hidden_}),
                 b1 = parameter(parameters_, bias1_, {hidden_});
    const Tensor w2 = parameter(parameters_, weight2_, {hidden_, kClasses}),
                 b2 = parameter(parameters_, bias2_, {kClasses});
    const Tensor rows = value({kBatch}, DType::i32), labels = value({kBatch}, DType::i32);
    const Tensor x = value({kBatch, inputs_}), h = value({kBatch, hidden_}), logits = value({kBatch, kClasses});
    const Tensor losses = value({kBatch}), p = value({kBatch, kClasses}), share = value({kBatch});
    const Tensor dlogits = value({kBatch, kClasses}), dh = value({kBatch, hidden_}), total = value({1}),
                 loss = value({1});
    loss_ = loss.as<float>();
    const Tensor theta = parameter(parameters_, 0, {parameterCount_}), g = parameter(gradient_, 0, {parameterCount_});
    const Tensor m = parameter(m_, 0, {parameterCount_}), v = parameter(v_, 0, {parameterCount_});

    add(OpCode::advance, {step}, {step}, {kBatch, kSamples});
    add(OpCode::sampleRows, {step}, {rows}, {kSamples, 1});
    add(OpCode::gather, {at(data_, DType::u8, {kSamples, inputs_}), rows}, {x}, {1.0 / 255, 0});
    add(OpCode::gather, {at(labels_, DType::i32, {kSamples}), rows}, {labels}, {1, 0});
    Op &first = add(OpCode::matmul, {x, w1}, {h}, {0, 0});
    epilogue(first, OpCode::add, &b1);
    epilogue(first, OpCode::relu, nullptr);
    epilogue(add(OpCode::matmul, {h, w2}, {logits}, {0, 0}), OpCode::add, &b2);
    add(OpCode::softmaxCrossEntropy, {logits, labels}, {losses, p});
    add(OpCode::sum, {losses}, {total}, {1});
    add(OpCode::scale, {total}, {loss}, {1.0 / kBatch, 0});
    add(OpCode::fill, {}, {share}, {1.0 / kBatch});
    add(OpCode::softmaxCrossEntropyGrad, {share, p, labels}, {dlogits});
    add(OpCode::matmul, {h, dlogits},
        {parameter(gradient_, weight2_, {hidden_, kClasses}), parameter(gradient_, bias2_, {kClasses})}, {1, 0});
    epilogue(add(OpCode::matmul, {dlogits, w2}, {dh}, {0, 1}), OpCode::reluGrad, &h);
    add(OpCode::matmul, {x, dh},
        {parameter(gradient_, weight1_, {inputs_, hidden_}), parameter(gradient_, bias1_, {hidden_})}, {1, 0});
    add(OpCode::prepareUpdate, {step, g}, {step}, {1.5, 0, 0, 0});
    add(OpCode::adamUpdate, {theta, m, v, g, step}, {theta, m, v}, {0, 0.9, 0.999, 1e-8});
    // More blocks than are left to one of the card, beside everything else.
    add(OpCode::randomUniform, {step}, {value({20 * 1024})}, {0, 1, 0});
    if (!card_) return;
    std::vector<Placed> placed;
    for (Op &op : ops_) {
      for (const bool bound : {false, true}) {
        Launches launches;
        launches.status = status_;
        launches.segments = cardSegments_;
        plannerOf(op.code)(op, launches);
        if (!bound && launches.workspaceBytes) op.workspace = make<char>(launches.workspaceBytes);
        for (const Launch &launch : launches.list)
          if (bound)
            placed.push_back({launch, &op, reinterpret_cast<uintptr_t>(op.workspace), launches.workspaceBytes});
      }
    }
    Launches end;
    end.status = status_;
    planEndOfStep(end, loss_, ring_, 1, kSlots);
    placed.push_back({end.list[0], nullptr, 0, 0});
    for (const Placed &each : placed) launches_.push_back(each.launch);
    if (multiprocessors_ == 0) return;
    table_ = make<char>(merge(placed, nullptr, multiprocessors_).table.size());
    const Merged merged = merge(placed, table_, multiprocessors_);
    std::memcpy(table_, merged.table.data(), merged.table.size());
    launches_ = merged.nodes;
    isWhole_ = merged.isWhole;
    barriers_ = merged.barriers[0];
  }

  bool card_, isWhole_ = false;
  int multiprocessors_, barriers_ = 0;
  const int64_t inputs_, hidden_, weight1_, bias1_, weight2_, bias2_, parameterCount_;
  char *table_ = nullptr;
  std::vector<void *> memory_;
  StepState *step_;
  uint8_t *data_;
  int32_t *labels_;
  float *parameters_, *m_, *v_, *gradient_, *ring_, *loss_ = nullptr;
  DeviceStatus *status_;
  std::vector<SegmentRecord> segments_;
  SegmentRecord *cardSegments_ = nullptr;
  std::vector<Op> ops_;
  std::vector<Launch> launches_;
};

void compare(const char *name, const std::vector<float> &got, const std::vector<float> &want, float bound) {
  for (size_t i = 0; i < got.size(); i++) {
    if (std::fabs(got[i] - want[i]) <= bound) continue;
    return failed(name,
                  "[" + std::to_string(i) + "] is " + std::to_string(got[i]) + ", expected " + std::to_string(want[i]));
  }
}

// A network with products that are split, whose tail and loss are made in rows: as many barriers as its order needs,
// the bits of its launches, and without any one of its barriers the detector finds a race.
void testBarriers() {
  Network launches(true, 0, kLarge);
  launches.steps(3);
  int64_t faultRow = -1;
  for (const emulator::Order order : {emulator::Order::forward, emulator::Order::reverse, emulator::Order::random}) {
    emulator::setOrder(order, 7);
    for (const int multiprocessors : {2, 3, 4}) {
      Network sequence(true, multiprocessors, kLarge);
      sequence.steps(3);
      if (sequence.parameters() != launches.parameters()) failed("a sequence in rows", "has other bits than launches");
      // Some rows of the next batches have no label: their blocks stop, others go on, and nothing that lasts changes.
      for (int64_t i = 0; i < kSamples; i += 3) sequence.labels()[i] = 99;
      sequence.steps(3);
      const DeviceStatus &status = sequence.status();
      if (sequence.parameters() != launches.parameters() || status.steps != 3 || !status.finished ||
          status.first.fault != static_cast<int32_t>(Fault::labelOutOfRange) || status.first.op != 6)
        failed("a fault in rows",
               "of op " + std::to_string(status.first.op) + " in step " + std::to_string(status.steps));
      if (faultRow < 0) faultRow = status.first.row;
      if (status.first.row != faultRow)
        failed("a fault in rows", "is reported of row " + std::to_string(status.first.row));
    }
  }
  emulator::setOrder(emulator::Order::forward);
  for (const std::string &finding : emulator::findings()) failed("a sequence in rows", finding);
  emulator::findings().clear();
  const int barriers = Network(true, 4, kLarge).barriers();
  if (barriers != 6) failed("a sequence in rows", std::to_string(barriers) + " barriers a step");
  for (int barrier = 0; barrier < barriers; barrier++) {
    Network careless(true, 4, kLarge);
    careless.forgetBarrier(barrier);
    careless.steps(2);
    if (emulator::findings().empty())
      failed("a sequence without its barrier " + std::to_string(barrier + 1), "is not found");
    emulator::findings().clear();
  }
}

}  // namespace

void testProgram() {
  Network oracle(false);
  for (int i = 0; i < 10; i++) oracle.step();
  std::vector<float> first;
  for (const emulator::Order order : {emulator::Order::forward, emulator::Order::reverse, emulator::Order::random}) {
    emulator::setOrder(order, 11);
    for (const int multiprocessors : {0, 1, 2, 4}) {
      emulator::findings().clear();
      Network card(true, multiprocessors);
      card.steps(3);
      card.steps(7);
      for (const std::string &finding : emulator::findings()) failed("ten steps", finding);
      compare("ten steps: parameters", card.parameters(), oracle.parameters(), 1e-5f);
      compare("ten steps: losses", card.ring(), oracle.ring(), 1e-5f);
      if (card.status().steps != 10 || card.state().updates != 10) failed("ten steps", "not all were counted");
      if (first.empty()) first = card.parameters();
      if (first != card.parameters()) failed("ten steps", "other bits in another order or with other blocks");
      if (multiprocessors > 0 && (card.nodes() != 1 || card.blocks() != static_cast<uint32_t>(multiprocessors)))
        failed("ten steps", std::to_string(card.nodes()) + " nodes of " + std::to_string(card.blocks()) + " blocks");

      // A step that fails when nothing was made before: what stands behind the fault does not run on undefined memory.
      Network fresh(true, multiprocessors);
      fresh.labels()[0] = fresh.labels()[7] = 99;
      fresh.steps(4);
      for (const std::string &finding : emulator::findings()) failed("a first step that fails", finding);
      if (!fresh.status().finished) failed("a first step that fails", "is not found");

      // Every label of the next batches is wrong: the step fails, and behind it nothing changes.
      for (int64_t i = 0; i < kSamples; i++) card.labels()[i] = 99;
      card.steps(1);
      const StepState after = card.state();
      card.steps(2);
      if (card.parameters() != first) failed("a step that fails", "changes parameters");
      if (std::memcmp(&after, &card.state(), sizeof after) != 0)
        failed("a step behind one that fails", "changes the step state");
      const DeviceStatus &status = card.status();
      if (status.first.fault != static_cast<int32_t>(Fault::labelOutOfRange) || status.first.op != 6 ||
          status.first.row != 0 || status.first.got != 99 || status.steps != 10 || !status.finished)
        failed("a step that fails", "reports fault " + std::to_string(status.first.fault) + " of op " +
                                        std::to_string(status.first.op) + " row " + std::to_string(status.first.row));
    }
  }
  emulator::setOrder(emulator::Order::forward, 11);
  testBarriers();
}

// Each op of the table has a planner.
void testTable() {
  const char *names[] = {
#define GL_OP(name, ...) #name,
#include "../../native/ops.def"
#undef GL_OP
  };
  for (uint32_t code = 0; code < kOpCount; code++)
    if (!plannerOf(static_cast<OpCode>(code))) failed(names[code], "has no CUDA kernel");
}

}  // namespace gradline::cuda::test
