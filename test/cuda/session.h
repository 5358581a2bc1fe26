// A device with one program, as the core holds them, for tests of the host code: a layer with a bias, softmax
// cross-entropy and Adam over the layer's weights. Everything ends with the session, whatever failed.
#pragma once
#include <array>

#include "harness.h"

extern "C" const gradline::Backend *gradline_backend();

namespace gradline::cuda::test {

constexpr int64_t kRows = 6, kIn = 8, kClasses = 4, kWeights = kIn * kClasses;
// A batch: inputs, then labels.
constexpr size_t kLabelsAt = kRows * kIn * 4, kBatchBytes = 256;

struct Setup {
  GraphMode graph = GraphMode::on;
  uint64_t steps = 0;
  int32_t label = 0;        // of the first row
  uint64_t stopAfter = ~0;  // times that the sign of a stop is looked at
  bool profile = false;
  bool wide = false;     // so large a stage that several blocks share the program
  uint64_t batches = 0;  // to be fed
  uint64_t badBatch = ~0;
  const GlBlas *blas = nullptr;
  bool blasNeeded = false, tune = false;
};

struct Outcome {
  std::string error;  // the first thing that failed
  int32_t failure = 0;
  std::vector<float> weights, losses;
  uint64_t completed = 0;
  RunStatus status = {};
  std::vector<double> seconds;
  std::vector<std::string> plans;
  std::string order;  // of a feed: t where a batch was taken, d where a step was done

  bool operator==(const Outcome &other) const {
    return error == other.error && weights == other.weights && losses == other.losses;
  }
};

class Session {
 public:
  explicit Session(const Setup &setup);
  ~Session();
  Session(const Session &) = delete;
  static const Backend &backend() { return *gradline_backend(); }

  bool load();
  void setLabel(int32_t label) { backend().write(device_, label_.data, &label, sizeof label); }
  void run(uint64_t steps);
  // A step for each of so many batches, which come from pinned memory beside the steps; with `sync` each is written in
  // front of its step instead. `late`: each is there only when the steps before it are done.
  void feed(uint64_t batches, bool sync = false, bool late = false);
  void profile();
  Outcome &look();
  bool failed();
  void fillBatch(char *to, uint64_t number) const;
  void *device() { return device_; }

 private:
  void *allocate(size_t bytes);
  Tensor tensor(const void *content, size_t bytes, DType dtype, Shape shape);
  Tensor value(Shape shape);
  Op &add(OpCode code, std::vector<Tensor> in, std::vector<Tensor> out, std::vector<double> attributes = {});

  Setup setup_;
  Outcome outcome_;
  void *device_ = nullptr, *executable_ = nullptr;
  std::vector<void *> memory_;
  uint64_t end_ = 0;  // of the tensors, had they been placed one behind the other
  std::array<int32_t, kRows> labels_ = {};
  Tensor weights_ = {}, input_ = {}, label_ = {};
  std::vector<void *> slots_;
  std::vector<Op> ops_;
  const SegmentRecord segment_ = {0, 0, 0, kWeights, 1, 0.01, 0, 0};
};

// A session from its beginning to its end.
Outcome play(const Setup &setup);

void expectText(const char *name, const std::string &text, const char *part);
// Neither on the card nor of findings.
void expectNothingLeft(const char *name);

}  // namespace gradline::cuda::test
