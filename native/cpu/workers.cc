// Hand-off by one counter that the workers watch; sleep and wake by futex; cores by affinity and control group.
#include "workers.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string>

#if defined(__linux__)
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace gradline::cpu {

namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kSpin = std::chrono::microseconds(100);     // of an idle worker, before it sleeps
constexpr auto kPatience = std::chrono::microseconds(50);  // of the runner, before it offers its core to others

void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Sleeps while `word` is 1; may return early.
void sleepOn(std::atomic<uint32_t> &word) {
#if defined(__linux__)
  syscall(SYS_futex, reinterpret_cast<uint32_t *>(&word), FUTEX_WAIT_PRIVATE, 1, nullptr, nullptr, 0);
#else
  word.wait(1);
#endif
}

void wake(std::atomic<uint32_t> &word) {
#if defined(__linux__)
  syscall(SYS_futex, reinterpret_cast<uint32_t *>(&word), FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
#else
  word.notify_one();
#endif
}

// Calls done() until it gives true, with pauses; past `patience` calls late(), which gives false to stop waiting.
template <class Done, class Late>
void spinUntil(Done done, Clock::duration patience, Late late) {
  for (int i = 0; i < 64; i++) {  // most waits end here, without a look at the clock
    if (done()) return;
    pause();
  }
  const auto end = Clock::now() + patience;
  while (!done()) {
    for (int i = 0; i < 16 && !done(); i++) pause();
    if (Clock::now() >= end && !late()) return;
  }
}

#if defined(__linux__)
// Cores granted by one control group, or infinity. v2 keeps "quota period" in one file, v1 in two.
double quotaOf(const std::string &folder) {
  std::string quota;
  double period = 0;
  if (std::ifstream file(folder + "/cpu.max"); !(file >> quota >> period)) {
    std::ifstream quotaFile(folder + "/cpu.cfs_quota_us"), periodFile(folder + "/cpu.cfs_period_us");
    if (!(quotaFile >> quota) || !(periodFile >> period)) return INFINITY;
  }
  const double micros = std::strtod(quota.c_str(), nullptr);  // "max" gives 0, "no limit" of v1 is -1
  return micros > 0 && period > 0 ? micros / period : INFINITY;
}

// The tightest quota of the process's control group and the groups around it.
double groupQuota() {
  double cores = INFINITY;
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // "id:controllers:path", v2 has no controllers
    std::istringstream fields(line);
    std::string id, controllers, path;
    if (!std::getline(fields, id, ':') || !std::getline(fields, controllers, ':') || !std::getline(fields, path))
      continue;
    if (!controllers.empty() && ("," + controllers + ",").find(",cpu,") == std::string::npos) continue;
    const std::string root = "/sys/fs/cgroup" + (controllers.empty() ? "" : "/" + controllers);
    for (;;) {
      cores = std::min(cores, quotaOf(root + path));
      const size_t slash = path.rfind('/');
      if (path.empty() || slash == std::string::npos) break;
      path.resize(slash);
    }
  }
  return cores;
}
#endif

}  // namespace

int usableCores() {
  int cores = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof mask, &mask) == 0) cores = CPU_COUNT(&mask);
  const double quota = groupQuota();
  if (quota < cores) cores = static_cast<int>(std::ceil(quota));
#endif
  return std::max(1, cores);
}

#if defined(__x86_64__) || defined(__i386__)
FlushDenormals::FlushDenormals() : saved_(__builtin_ia32_stmxcsr()) {
  constexpr uint32_t kFlushResults = 0x8000, kFlushOperands = 0x0040;  // FTZ and DAZ of MXCSR
  __builtin_ia32_ldmxcsr(saved_ | kFlushResults | kFlushOperands);
}
FlushDenormals::~FlushDenormals() { __builtin_ia32_ldmxcsr(saved_); }
#elif defined(__aarch64__)
FlushDenormals::FlushDenormals() {
  uint64_t control;
  asm volatile("mrs %0, fpcr" : "=r"(control));
  saved_ = static_cast<uint32_t>(control);
  constexpr uint64_t kFlush = uint64_t{1} << 24;  // FZ of FPCR: operands and results
  asm volatile("msr fpcr, %0" : : "r"(control | kFlush));
}
FlushDenormals::~FlushDenormals() { asm volatile("msr fpcr, %0" : : "r"(uint64_t{saved_})); }
#else
FlushDenormals::FlushDenormals() : saved_(0) {}
FlushDenormals::~FlushDenormals() { (void)saved_; }
#endif

Team::Team(int threads) : size_(threads), workers_(new Worker[static_cast<size_t>(threads)]) {
  try {
    for (; started_ < size_; started_++) workers_[started_].thread = std::thread(&Team::work, this, started_);
  } catch (...) {
    stop();
    throw;
  }
}

Team::~Team() { stop(); }

void Team::stop() {
  order(kStop, started_);
  for (int t = 1; t < started_; t++) workers_[t].thread.join();
}

void Team::run(int threads, Job job, const void *context) {
  job_ = job;
  context_ = context;
  expected_ += static_cast<uint64_t>(threads - 1);
  order(static_cast<uint64_t>(threads), threads);
  job(context, 0, threads);
  spinUntil([&] { return finished_.load(std::memory_order_acquire) == expected_; }, kPatience,
            [] {
              std::this_thread::yield();  // a worker may be waiting for this very core
              return true;
            });
}

void Team::park() {
  if (size_ > 1 && (order_.load(std::memory_order_relaxed) & 0xff) != kPark) order(kPark, 0);
}

// Gives the order and wakes those of the first `upTo` who sleep. Both sides first write their own word and then read
// the other's, all in one total order, so either the worker sees the order or this thread sees it asleep.
void Team::order(uint64_t what, int upTo) {
  order_.store(((order_.load(std::memory_order_relaxed) >> 8) + 1) << 8 | what, std::memory_order_seq_cst);
  for (int t = 1; t < upTo; t++)
    if (workers_[t].asleep.load(std::memory_order_seq_cst) == 1) {
      workers_[t].asleep.store(0, std::memory_order_seq_cst);
      wake(workers_[t].asleep);
    }
}

// Returns the first order that differs from `seen`.
uint64_t Team::awaitOrder(int index, uint64_t seen, bool spin) {
  const auto changed = [&] { return order_.load(std::memory_order_seq_cst) != seen; };
  if (spin) spinUntil(changed, kSpin, [] { return false; });
  std::atomic<uint32_t> &asleep = workers_[index].asleep;
  while (!changed()) {
    asleep.store(1, std::memory_order_seq_cst);
    if (!changed()) sleepOn(asleep);
    asleep.store(0, std::memory_order_seq_cst);
  }
  return order_.load(std::memory_order_acquire);
}

void Team::work(int index) {
  const FlushDenormals flush;
  uint64_t seen = kPark;  // the word that order_ begins with
  bool spin = false;
  for (;;) {
    seen = awaitOrder(index, seen, spin);
    const uint64_t what = seen & 0xff;
    if (what == kStop) return;
    spin = what != kPark;
    // Only those who take part may look at the job: the runner waits for them, and for nobody else, before the next.
    if (static_cast<uint64_t>(index) < what) {
      job_(context_, index, static_cast<int>(what));
      finished_.fetch_add(1, std::memory_order_release);
    }
  }
}

}  // namespace gradline::cpu
