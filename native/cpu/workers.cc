// Spinning, sleeping by futex, orders to workers, and the barrier of a job.
#include "workers.h"

#if defined(__linux__)
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#endif

namespace gradline::cpu {

namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kIdleSpin = std::chrono::microseconds(100);  // of a worker without a job, before it sleeps
constexpr auto kPatience = std::chrono::microseconds(50);   // of a thread that waits for others, before it yields
constexpr int kYields = 4;                                  // before it sleeps

void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Sleeps while `word` is `seen`; may return early.
void sleepOn(std::atomic<uint32_t> &word, uint32_t seen) {
#if defined(__linux__)
  syscall(SYS_futex, reinterpret_cast<uint32_t *>(&word), FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
#else
  word.wait(seen);
#endif
}

void wakeAll(std::atomic<uint32_t> &word) {
#if defined(__linux__)
  syscall(SYS_futex, reinterpret_cast<uint32_t *>(&word), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
#else
  word.notify_all();
#endif
}

}  // namespace

// Both sides first write their own word and then read the other's, all in one total order, so either the waiting thread
// sees the new value or this one sees that somebody sleeps.
void Signal::set(uint32_t value) {
  word_.store(value, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) > 0) wakeAll(word_);
}

void Signal::await(uint32_t seen, std::chrono::nanoseconds patience) {
  const auto changed = [&] { return word_.load(std::memory_order_acquire) != seen; };
  for (int i = 0; i < 64; i++) {  // most waits end here, without a look at the clock
    if (changed()) return;
    pause();
  }
  const auto end = Clock::now() + patience;
  do {
    for (int i = 0; i < 16; i++) {
      if (changed()) return;
      pause();
    }
  } while (Clock::now() < end);
  for (int i = 0; i < kYields; i++) {
    std::this_thread::yield();
    if (changed()) return;
  }
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  while (word_.load(std::memory_order_seq_cst) == seen) sleepOn(word_, seen);
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
}

#if defined(__x86_64__) || defined(__i386__)
Denormals::Denormals(bool flush) : saved_(__builtin_ia32_stmxcsr()) {
  constexpr uint32_t kFlush = 0x8000 | 0x0040;  // FTZ and DAZ of MXCSR: results and operands
  __builtin_ia32_ldmxcsr(flush ? saved_ | kFlush : saved_ & ~kFlush);
}
Denormals::~Denormals() { __builtin_ia32_ldmxcsr(saved_); }
#elif defined(__aarch64__)
Denormals::Denormals(bool flush) {
  uint64_t control;
  asm volatile("mrs %0, fpcr" : "=r"(control));
  saved_ = static_cast<uint32_t>(control);
  constexpr uint64_t kFlush = uint64_t{1} << 24;  // FZ of FPCR: operands and results
  asm volatile("msr fpcr, %0" : : "r"(flush ? control | kFlush : control & ~kFlush));
}
Denormals::~Denormals() { asm volatile("msr fpcr, %0" : : "r"(uint64_t{saved_})); }
#else
Denormals::Denormals(bool) : saved_(0) {}
Denormals::~Denormals() { (void)saved_; }
#endif

Team::Team(int threads, bool flush)
    : size_(threads), flush_(flush), workers_(new Worker[static_cast<size_t>(threads)]) {
  try {
    for (; started_ < size_; started_++) workers_[started_].thread = std::thread(&Team::work, this, started_);
  } catch (...) {
    stop();
    throw;
  }
}

Team::~Team() { stop(); }

void Team::stop() {
  for (int t = 1; t < started_; t++) order(t, kStop);
  for (int t = 1; t < started_; t++) workers_[t].thread.join();
}

void Team::order(int worker, uint32_t what) {
  Signal &signal = workers_[worker].order;
  signal.set(((signal.value() >> 8) + 1) << 8 | what);
}

// Systems balance the load of cores every few milliseconds only, and often wake a worker on the core of the thread that
// woke it. There the two wait for each other in turn: a step of 55 us was seen to take 500 for as long as that lasted.
// So a worker that begins a job on the core of a thread before it moves to one that none of them has.
void Team::takeCore(int index) {
#if defined(__linux__)
  const auto coreOf = [&](int t) { return workers_[t].core.load(std::memory_order_relaxed); };
  const auto note = [&](int core) {  // a word that nobody writes stays in all caches
    if (coreOf(index) != core) workers_[index].core.store(core, std::memory_order_relaxed);
  };
  const int core = sched_getcpu();
  note(core);
  bool shared = false;
  for (int t = 0; t < index; t++) shared |= coreOf(t) == core;
  cpu_set_t allowed;
  if (!shared || sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  cpu_set_t free = allowed;
  for (int t = 0; t < index; t++)
    if (const int taken = coreOf(t); taken >= 0 && taken < CPU_SETSIZE) CPU_CLR(taken, &free);
  if (CPU_COUNT(&free) == 0 || sched_setaffinity(0, sizeof free, &free) != 0) return;
  sched_setaffinity(0, sizeof allowed, &allowed);  // it has been moved, and may be moved again
  note(sched_getcpu());
#else
  (void)index;
#endif
}

void Team::run(int threads, Job job, void *context) {
  job_ = job;
  context_ = context;
  stopping_.store(false, std::memory_order_relaxed);
  if (threads > 1) takeCore(0);
  for (int t = 1; t < threads; t++) order(t, static_cast<uint32_t>(threads));
  job(context, 0, threads);
  if (threads > 1) meet(threads, false);
}

bool Team::meet(int threads, bool stop) {
  const uint32_t seen = met_.value();  // cannot change before this thread has come
  if (stop) stopping_.store(true, std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads) {
    arrived_.store(0, std::memory_order_relaxed);
    met_.set((seen | 1) + 1 + stopping_.load(std::memory_order_relaxed));
  } else {
    met_.await(seen, kPatience);
  }
  return met_.value() & 1;
}

void Team::work(int index) {
  const Denormals denormals(flush_);
  Signal &signal = workers_[index].order;
  for (uint32_t seen = 0;;) {  // the value that a signal begins with
    signal.await(seen, kIdleSpin);
    seen = signal.value();
    const int threads = static_cast<int>(seen & 0xff);
    if (threads == kStop) return;
    takeCore(index);
    job_(context_, index, threads);
    meet(threads, false);
  }
}

}  // namespace gradline::cpu
