// Runs of an executable: as few launches as they can be. Nothing between two steps comes from the host: counters stand
// in the StepState, metrics go to a ring in pinned memory, a fault stops what is behind it on the card itself.
#include <algorithm>
#include <cstring>

#include "lanes.h"

namespace gradline::cuda {
namespace {

constexpr uint64_t kStepsPerGraph[] = {32, 8, 1};
constexpr size_t kMostNodes = 4096;   // of a graph of several steps
constexpr double kLongestRun = 0.02;  // seconds after which others get their turn

}  // namespace

// What a step may change, state and ring included: for a comparison, which may be slow.
std::vector<char> Executable::remember() {
  std::vector<char> content;
  const auto keep = [&](const void *from, size_t bytes) {
    content.resize(content.size() + bytes);
    check(cudaMemcpyAsync(content.data() + content.size() - bytes, from, bytes, cudaMemcpyDeviceToHost,
                          device_.stream.get()),
          "copy memory for a comparison");
  };
  keep(status_, sizeof *status_);
  for (const Range &range : written_) keep(range.begin, range.bytes());
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
  put(status_, sizeof *status_);
  for (const Range &range : written_) put(range.begin, range.bytes());
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
  // Behind a fault a sequence may have made rows that nobody looks at any more; what lasts must be equal all the same.
  DeviceStatus status;
  std::memcpy(&status, plain.data(), sizeof status);
  size_t begin = 0;
  const auto compare = [&](size_t bytes, bool matters) {
    const auto from = plain.begin() + static_cast<ptrdiff_t>(begin), to = from + static_cast<ptrdiff_t>(bytes);
    const auto at = std::mismatch(from, to, graph.begin() + static_cast<ptrdiff_t>(begin)).first;
    begin += bytes;
    if (at == to || !matters) return;
    throw std::runtime_error(
        "the graph of " + std::to_string(steps) + " steps has other bits than its launches one by one, first at byte " +
        std::to_string(at - plain.begin()) + " of " + std::to_string(plain.size()) + " that the program changes");
  };
  compare(sizeof status, true);
  for (const Range &range : written_) compare(range.bytes(), range.lasts || status.first.fault == 0);
  compare(plain.size() - begin, true);
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

void Executable::launch(uint64_t steps) {
  if (device_.graph == GraphMode::on || device_.graph == GraphMode::unmerged) launchGraph(steps);
  if (device_.graph == GraphMode::off) launchAll(launches_, steps);
  if (device_.graph == GraphMode::check) launchBoth(steps);
}

uint64_t Executable::run(uint64_t steps, void *results, StopSign sign, RunStatus *status) {
  if (!isNarrow_ || device_.graph != GraphMode::on) return runAlone(steps, results, sign, status);
  const Lanes::Visit visit(*device_.lanes, device_);
  return visit.isAlone() ? runAlone(steps, results, sign, status) : runBeside(steps, results, sign, status);
}

// Takes the metrics of a step of this run out of the ring.
void Executable::fetch(uint64_t step, void *results) const {
  const char *slot = static_cast<const char *>(ring_.get()) + (stepsBefore_ + step) % slots_ * slotBytes_;
  if (metricBytes_ > 0) std::memcpy(static_cast<char *>(results) + step * metricBytes_, slot, metricBytes_);
}

// In launches that are shared with other lanes. Nothing goes to the stream of this one, where it could stand behind
// their work: the card takes only so many streams at once.
uint64_t Executable::runBeside(uint64_t steps, void *results, StopSign sign, RunStatus *status) {
  begin();
  check(cudaStreamSynchronize(device_.stream.get()), "wait for what stands before a run");
  const double began = now();
  Lanes::Share share = {device_, nodes_[0], status_, 0, 0, {}, {}};
  uint64_t done = 0;
  do {
    share.steps = std::min(steps - done, slots_);
    share.secondsPerStep = secondsPerStep_;
    device_.lanes->launch(share);
    const uint64_t nanoseconds = std::max<uint64_t>(share.landing.nanoseconds, 1);  // a coarse clock may show none
    secondsPerStep_ = static_cast<double>(nanoseconds) * 1e-9 / static_cast<double>(share.steps);
    for (const uint64_t end = done + share.steps; done < end; done++) fetch(done, results);
  } while (done < steps && share.landing.status.finished == 0 && now() - began < kLongestRun &&
           !sign.wanted(sign.context));
  return conclude(share.landing.status, status);
}

uint64_t Executable::runAlone(uint64_t steps, void *results, StopSign sign, RunStatus *status) {
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
    for (; fetched < flight.end; fetched++) fetch(fetched, results);
  };
  begin();
  while (launched < steps) {
    if (launched > 0 && (now() - began > kLongestRun || sign.wanted(sign.context))) break;
    const uint64_t next = stepsPerLaunch(steps - launched);
    while (flights.size() - landed == kInFlight || launched + next - fetched > slots_) land();
    const double since = now();
    launch(next);
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
  if (products_.areMade()) products_.use(memory_ + libraryAt_, products_.workspaceBytes());
}

// Waits for everything.
uint64_t Executable::finish(RunStatus *status) {
  const cudaStream_t stream = device_.stream.get();
  const auto *copy = static_cast<const DeviceStatus *>(statusCopy_.get());
  check(cudaMemcpyAsync(statusCopy_.get(), status_, sizeof *copy, cudaMemcpyDeviceToHost, stream), "read a report");
  check(cudaStreamSynchronize(stream), "wait for a step");
  return conclude(*copy, status);
}

// What the card has reached tells how many steps of the run ended well.
uint64_t Executable::conclude(const DeviceStatus &reached, RunStatus *status) {
  const uint64_t completed = reached.steps - stepsBefore_;
  stepsBefore_ = reached.steps;
  if (reached.first.fault != 0) {
    *status = reached.first;
    check(cudaMemsetAsync(status_, 0, sizeof *status_, device_.stream.get()), "clear the state of a program");
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
