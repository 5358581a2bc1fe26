// An executable: ops become launches, a step becomes a CUDA graph, and a run is as few launches of graphs as it can be.
// Nothing between two steps comes from the host: counters stand in the StepState, metrics go to a ring in pinned
// memory, a fault stops what is behind it on the card itself. Memory and the table of the backend are backend.cu.
#include <algorithm>
#include <chrono>
#include <cstring>

#include "host.h"

namespace gradline::cuda {
namespace {

constexpr uint64_t kStepsPerGraph[] = {32, 8, 1};
constexpr size_t kMostNodes = 4096;      // of a graph of several steps
constexpr double kLongestLaunch = 0.02;  // seconds; a stop waits for what was launched
constexpr double kLongestRun = 0.02;     // seconds after which others get their turn
constexpr size_t kRingBytes = size_t{8} << 20;
// Two launches of the longest graph, or of a whole program: one runs while the other is fetched.
constexpr uint64_t kMostSlots = 64, kMostSlotsOfWhole = 2048;

size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// "Unary<exp>" of "... [with Kernel = gradline::cuda::{anonymous}::Unary<gradline::OpCode::exp>]".
std::string readable(const char *name) {
  std::string text = name;
  const size_t at = text.find("Kernel = ");
  if (at != std::string::npos) text = text.substr(at + 9, text.rfind(']') - at - 9);
  for (size_t colons; (colons = text.find("::")) != std::string::npos;) {
    size_t begin = colons;
    while (begin > 0 && std::strchr("<, (", text[begin - 1]) == nullptr) begin--;
    text.erase(begin, colons + 2 - begin);
  }
  return text;
}

std::string describe(const Launch &launch) {
  std::string text = readable(launch.name());
  if (launch.work == Work::gemm) return text;
  const uint64_t blocks = uint64_t{launch.grid[0]} * launch.grid[1] * launch.grid[2];
  return text + " " + std::to_string(blocks) + "x" + std::to_string(launch.threads);
}

std::string shapeOf(const Tensor &t) {
  std::string text = "[";
  for (int i = 0; i < t.rank; i++) text += (i ? ", " : "") + std::to_string(t.dims[i]);
  return text + "]";
}

size_t bytesOf(const Tensor &t) {
  return static_cast<size_t>(t.size) * (t.dtype == DType::u8 ? 1 : t.dtype == DType::f64 ? 8 : 4);
}

}  // namespace

Executable::Executable(Device &device, Op *ops, uint32_t count, Numerics numerics)
    : device_(device), ops_(ops), count_(count) {
  if (numerics == Numerics::fp64) throw std::runtime_error("it computes in float32; float64 programs run on ref");
  size_t end = aligned(sizeof(DeviceStatus));
  for (uint32_t i = 0; i < count; i++) {
    const Op &op = ops[i];
    const auto isKnown = [&](const Table &table) { return table.from == op.segments; };
    if (op.segmentCount > 0 && std::none_of(tables_.begin(), tables_.end(), isKnown)) {
      tables_.push_back({op.segments, op.segmentCount, end});
      end += aligned(static_cast<size_t>(op.segmentCount) * sizeof(SegmentRecord));
    }
    scratchBytes_ = std::max(scratchBytes_, planOf(op).workspaceBytes);
  }
  const std::vector<Placed> launches = placed(nullptr);
  const Merged merged = merge(launches, nullptr, device_.multiprocessors);
  isWhole_ = merged.isWhole && device_.graph != GraphMode::unmerged;
  tableAt_ = end;
  scratchAt_ = end + aligned(merged.table.size());
  describeOps(launches, merged);
}

// What becomes of each op, for people: its launches, and the nodes of the graph in which they are.
void Executable::describeOps(const std::vector<Placed> &launches, const Merged &merged) {
  plans_.resize(count_);
  for (uint32_t i = 0; i < count_; i++) {
    size_t first = merged.nodes.size(), last = 0;
    for (size_t k = 0; k < launches.size(); k++) {
      if (launches[k].op != &ops_[i]) continue;
      plans_[i] += (plans_[i].empty() ? "" : " + ") + cuda::describe(launches[k].launch);
      first = std::min(first, merged.nodeOf[k]);
      last = merged.nodeOf[k];
    }
    const std::string at = std::to_string(first + 1) + (first == last ? "" : "-" + std::to_string(last + 1));
    plans_[i] += plans_[i].empty() ? "nothing to do" : " (node " + at + "/" + std::to_string(merged.nodes.size()) + ")";
  }
}

// The launches of a step, in order.
std::vector<Placed> Executable::placed(const void *metrics) const {
  std::vector<Placed> all;
  const auto append = [&](const Launches &launches, const Op *op) {
    for (const Launch &launch : launches.list) all.push_back({launch, op, launches.workspaceBytes > 0});
  };
  for (uint32_t i = 0; i < count_; i++) append(planOf(ops_[i]), &ops_[i]);
  Launches end;
  end.status = status_;
  planEndOfStep(end, metrics, ring_.get(), static_cast<int64_t>(slotBytes_ / 4), static_cast<int64_t>(slots_));
  append(end, nullptr);
  return all;
}

Launches Executable::planOf(const Op &op) const {
  Launches launches;
  launches.status = status_;
  launches.blas = device_.blas;
  for (const Table &table : tables_) {
    if (memory_ && table.from == op.segments && op.segmentCount > 0)
      launches.segments = reinterpret_cast<const SegmentRecord *>(memory_ + table.at);
  }
  const PlanFn plan = plannerOf(op.code);
  if (plan && plan(op, launches)) return launches;
  std::string form;
  for (int i = 0; i < op.inputs; i++) form += (i ? ", " : "") + shapeOf(op.in[i]);
  for (int i = 0; i < op.epilogues; i++) form += std::string(" then ") + nameOf(op.epilogue[i].code);
  throw std::runtime_error("op " + std::to_string(op.index) + ", " + nameOf(op.code) + " of " + form +
                           ", has no CUDA kernel in this form; docs/cuda.md lists what is covered");
}

void Executable::bind(void *workspace, const void *metrics, size_t metricBytes) {
  memory_ = static_cast<char *>(workspace);
  status_ = static_cast<DeviceStatus *>(workspace);
  const cudaStream_t stream = device_.stream.get();
  check(cudaMemsetAsync(status_, 0, sizeof *status_, stream), "clear the state of a program");
  for (const Table &table : tables_) {
    check(cudaMemcpyAsync(memory_ + table.at, table.from, static_cast<size_t>(table.count) * sizeof(SegmentRecord),
                          cudaMemcpyHostToDevice, stream),
          "copy the segments of a program");
  }
  for (uint32_t i = 0; i < count_; i++) ops_[i].workspace = memory_ + scratchAt_;
  metricBytes_ = metricBytes;
  slotBytes_ = (metricBytes + 3) / 4 * 4;
  slots_ = std::clamp<uint64_t>(slotBytes_ ? kRingBytes / slotBytes_ : kMostSlotsOfWhole, 2,
                                isWhole_ ? kMostSlotsOfWhole : kMostSlots);
  check(cudaHostAlloc(ring_.out(), std::max<size_t>(slotBytes_ * slots_, 4), cudaHostAllocDefault),
        "allocate pinned memory for metrics");
  check(cudaHostAlloc(statusCopy_.out(), sizeof(DeviceStatus), cudaHostAllocDefault), "allocate pinned memory");
  for (Event &event : reached_) check(cudaEventCreateWithFlags(event.out(), cudaEventDisableTiming), "create an event");

  const std::vector<Placed> launches = placed(metrics);
  for (const Placed &each : launches) launches_.push_back(each.launch);
  for (uint32_t i = 0; i < count_; i++) {
    const Op &op = ops_[i];
    launchEnds_.push_back(static_cast<size_t>(std::count_if(
        launches.begin(), launches.end(), [&](const Placed &each) { return each.op && each.op <= &op; })));
    for (int k = 0; k < op.outputs; k++) {
      char *begin = op.out[k].as<char>();
      written_.push_back({begin, begin + bytesOf(op.out[k])});
    }
  }
  const Merged merged = merge(launches, memory_ + tableAt_, device_.multiprocessors);
  nodes_ = device_.graph == GraphMode::unmerged ? launches_ : merged.nodes;
  check(cudaMemcpyAsync(memory_ + tableAt_, merged.table.data(), merged.table.size(), cudaMemcpyHostToDevice, stream),
        "copy the stages of a program");
  for (const std::vector<Launch> *list : {&launches_, &nodes_}) {
    for (const Launch &launch : *list) {
      usesBlas_ |= launch.work == Work::gemm;
      if (launch.work != Work::kernel) continue;
      // The driver loads a kernel when it is first asked for, which is better done before a capture than in one.
      cudaFuncAttributes attributes;
      check(cudaFuncGetAttributes(&attributes, launch.function), "load a kernel onto the card");
    }
  }

  std::sort(written_.begin(), written_.end(), [](const Range &a, const Range &b) { return a.begin < b.begin; });
  std::vector<Range> joined;
  for (const Range &range : written_) {
    if (!joined.empty() && range.begin <= joined.back().end)
      joined.back().end = std::max(joined.back().end, range.end);
    else
      joined.push_back(range);
  }
  written_ = joined;
}

void Executable::launchOne(const Launch &launch) const {
  const cudaStream_t stream = device_.stream.get();
  if (launch.work == Work::gemm) {
    GlGemm gemm;
    std::memcpy(&gemm, launch.argument, sizeof gemm);
    const int32_t code = device_.blas->gemm(device_.blasHandle, &gemm);
    if (code != 0) throw std::runtime_error(std::string("could not make a product: ") + device_.blas->text(code));
    return;
  }
  void *arguments[] = {const_cast<unsigned char *>(launch.argument)};
  const dim3 grid(launch.grid[0], launch.grid[1], launch.grid[2]), block(launch.threads, 1, 1);
  const auto put = launch.together ? cudaLaunchCooperativeKernel : cudaLaunchKernel;
  const cudaError_t error = put(launch.function, grid, block, arguments, launch.sharedBytes, stream);
  if (error != cudaSuccess) check(error, ("launch " + cuda::describe(launch)).c_str());
}

// Puts so many steps into the stream, one by one.
void Executable::launchAll(const std::vector<Launch> &launches, uint64_t steps) {
  for (uint64_t i = 0; i < steps; i++) {
    for (const Launch &launch : launches) launchOne(launch);
  }
}

// The same as one launch.
void Executable::launchGraph(uint64_t steps) {
  if (!isWhole_) return launchCaptured(steps);
  Launch whole = nodes_[0];
  setSteps(whole, static_cast<uint32_t>(steps));
  launchOne(whole);
}

// The graph is made when a number of steps is first asked for: many programs run only once.
void Executable::launchCaptured(uint64_t steps) {
  const cudaStream_t stream = device_.stream.get();
  auto known = std::find_if(captured_.begin(), captured_.end(), [&](const Captured &c) { return c.steps == steps; });
  if (known == captured_.end()) {
    Graph graph;
    Captured captured = {steps, {}};
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "begin a graph");
    try {
      launchAll(nodes_, steps);
    } catch (...) {
      Graph partial;  // the stream must leave the capture whatever happened in it
      (void)cudaStreamEndCapture(stream, partial.out());
      throw;
    }
    check(cudaStreamEndCapture(stream, graph.out()), "end a graph");
    check(cudaGraphInstantiate(captured.executable.out(), graph.get(), 0), "make a graph of the step");
    captured_.push_back(std::move(captured));
    known = captured_.end() - 1;
  }
  check(cudaGraphLaunch(known->executable.get(), stream), "launch a graph");
}

// What a step may change, state and ring included: for a comparison, which may be slow.
std::vector<char> Executable::remember() {
  std::vector<char> content;
  const auto keep = [&](const void *from, size_t bytes) {
    content.resize(content.size() + bytes);
    check(cudaMemcpyAsync(content.data() + content.size() - bytes, from, bytes, cudaMemcpyDeviceToHost,
                          device_.stream.get()),
          "copy memory for a comparison");
  };
  for (const Range &range : written_) keep(range.begin, static_cast<size_t>(range.end - range.begin));
  keep(status_, sizeof *status_);
  check(cudaStreamSynchronize(device_.stream.get()), "wait for a step");
  const char *ring = static_cast<const char *>(ring_.get());
  content.insert(content.end(), ring, ring + slotBytes_ * slots_);
  return content;
}

void Executable::recall(const std::vector<char> &content) {
  const char *from = content.data();
  const auto put = [&](void *to, size_t bytes) {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, device_.stream.get()), "restore memory");
    from += bytes;
  };
  for (const Range &range : written_) put(range.begin, static_cast<size_t>(range.end - range.begin));
  put(status_, sizeof *status_);
  std::memcpy(ring_.get(), from, slotBytes_ * slots_);
}

// The launches one by one, then from the same state as a graph; the bits must be equal.
void Executable::launchBoth(uint64_t steps) {
  const std::vector<char> before = remember();
  launchAll(launches_, steps);
  const std::vector<char> plain = remember();
  recall(before);
  launchGraph(steps);
  const std::vector<char> graph = remember();
  if (plain == graph) return;
  const auto at = std::mismatch(plain.begin(), plain.end(), graph.begin()).first - plain.begin();
  throw std::runtime_error("the graph of " + std::to_string(steps) +
                           " steps has other bits than its launches one by one, first at byte " + std::to_string(at) +
                           " of " + std::to_string(plain.size()) + " that the program changes");
}

// As many as a launch may take: unbounded would make a stop wait and, for large programs, graphs too large to keep.
uint64_t Executable::stepsPerLaunch(uint64_t left) const {
  const double inTime = secondsPerStep_ > 0 ? kLongestLaunch / secondsPerStep_ : 1;
  if (isWhole_) return std::max<uint64_t>(1, std::min({left, slots_ / 2, static_cast<uint64_t>(inTime)}));
  for (const uint64_t steps : kStepsPerGraph) {
    if (steps > left || 2 * steps > slots_ || steps * nodes_.size() > kMostNodes) continue;
    if (static_cast<double>(steps) <= inTime) return steps;
  }
  return 1;
}

uint64_t Executable::run(uint64_t steps, void *results, StopSign sign, RunStatus *status) {
  struct Flight {
    uint64_t end;  // steps launched up to here
    double since;
  };
  std::vector<Flight> flights;  // launched, the first `landed` of them fetched
  size_t landed = 0;
  uint64_t launched = 0, fetched = 0;
  flights.reserve(static_cast<size_t>(std::min<uint64_t>(steps, 1024)));
  const double began = now();
  double last = began;
  // Waits for the oldest launch and takes its metrics out of the ring.
  const auto land = [&] {
    const Flight flight = flights[landed];
    check(cudaEventSynchronize(reached_[landed % kInFlight].get()), "wait for a step");
    const double time = now();
    secondsPerStep_ = (time - std::max(last, flight.since)) / static_cast<double>(flight.end - fetched);
    last = time;
    landed++;
    for (; fetched < flight.end; fetched++) {
      const char *slot = static_cast<const char *>(ring_.get()) + (stepsBefore_ + fetched) % slots_ * slotBytes_;
      if (metricBytes_ > 0) std::memcpy(static_cast<char *>(results) + fetched * metricBytes_, slot, metricBytes_);
    }
  };
  begin();
  while (launched < steps) {
    if (launched > 0 && (now() - began > kLongestRun || sign.wanted(sign.context))) break;
    const uint64_t next = stepsPerLaunch(steps - launched);
    while (flights.size() - landed == kInFlight || launched + next - fetched > slots_) land();
    const double since = now();
    if (device_.graph == GraphMode::on || device_.graph == GraphMode::unmerged) launchGraph(next);
    if (device_.graph == GraphMode::off) launchAll(launches_, next);
    if (device_.graph == GraphMode::check) launchBoth(next);
    check(cudaEventRecord(reached_[flights.size() % kInFlight].get(), device_.stream.get()), "record an event");
    launched += next;
    flights.push_back({launched, since});
  }
  while (landed < flights.size()) land();
  return finish(status);
}

// Before the first launch of a run.
void Executable::begin() {
  const cudaStream_t stream = device_.stream.get();
  if (unsure_) check(cudaMemsetAsync(status_, 0, sizeof *status_, stream), "clear the state of a program");
  if (unsure_) stepsBefore_ = 0;
  unsure_ = true;
  if (!usesBlas_) return;
  const int32_t code = device_.blas->use(device_.blasHandle, stream, device_.blasWorkspace.get(), kBlasBytes);
  if (code != 0) throw std::runtime_error(std::string("could not prepare products: ") + device_.blas->text(code));
}

// Waits for everything; how many steps of the run ended well.
uint64_t Executable::finish(RunStatus *status) {
  const cudaStream_t stream = device_.stream.get();
  const auto *copy = static_cast<const DeviceStatus *>(statusCopy_.get());
  check(cudaMemcpyAsync(statusCopy_.get(), status_, sizeof *copy, cudaMemcpyDeviceToHost, stream), "read a report");
  check(cudaStreamSynchronize(stream), "wait for a step");
  const uint64_t completed = copy->steps - stepsBefore_;
  stepsBefore_ = copy->steps;
  if (copy->first.fault != 0) {
    *status = copy->first;
    check(cudaMemsetAsync(status_, 0, sizeof *status_, stream), "clear the state of a program");
    stepsBefore_ = 0;
  }
  unsure_ = false;
  return completed;
}

void Executable::step(RunStatus *status, double *seconds) {
  const cudaStream_t stream = device_.stream.get();
  const auto mark = [&](size_t i) { check(cudaEventRecord(marks_[i].get(), stream), "record an event"); };
  while (seconds && marks_.size() <= count_) {
    marks_.emplace_back();
    check(cudaEventCreateWithFlags(marks_.back().out(), cudaEventDefault), "create an event");
  }
  begin();
  if (seconds) mark(0);
  size_t next = 0;
  for (uint32_t i = 0; i < count_; i++) {
    for (; next < launchEnds_[i]; next++) launchOne(launches_[next]);
    if (seconds) mark(i + 1);
  }
  for (; next < launches_.size(); next++) launchOne(launches_[next]);
  finish(status);
  for (uint32_t i = 0; seconds && i < count_; i++) {
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, marks_[i].get(), marks_[i + 1].get()), "read a time");
    seconds[i] = milliseconds / 1000;
  }
}

}  // namespace gradline::cuda
