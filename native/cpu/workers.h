// The team of threads of one CPU device: it runs one job at a time, given by the runner thread, which takes part
// itself, and lets the threads of a job wait for each other. It knows nothing of ops; shares are the caller's business.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <thread>

namespace gradline::cpu {

// What this thread does with denormal numbers while an object of this class lives. `flush`: they count as zero, since
// Adam's moments of dead units decay into denormals, which many processors handle a hundred times slower. Otherwise
// they are numbers like others, which alone has the same bits on all processors: those that flush do not agree on what
// is denormal before or after rounding. x86 and 64-bit ARM; elsewhere it does nothing.
class Denormals {
 public:
  explicit Denormals(bool flush);
  ~Denormals();
  Denormals(const Denormals &) = delete;
  Denormals &operator=(const Denormals &) = delete;

 private:
  uint32_t saved_;
};

constexpr int kMaxThreads = 255;
constexpr int kCacheLine = 128;  // two lines: processors fetch them in pairs

// A word that threads watch until it changes: they spin for a while, then offer the core to others, then sleep, so that
// a thread never keeps the core for long from the one it waits for.
class alignas(kCacheLine) Signal {
 public:
  uint32_t value() const { return word_.load(std::memory_order_acquire); }
  void set(uint32_t value);
  // Waits while the value is `seen`, spinning for `patience` at the most.
  void await(uint32_t seen, std::chrono::nanoseconds patience);

 private:
  std::atomic<uint32_t> word_{0};
  std::atomic<uint32_t> sleepers_{0};
};

class Team {
 public:
  using Job = void (*)(void *context, int thread, int threads);

  // 1 <= threads <= kMaxThreads, the caller of run() included; `flush` as in Denormals, for all but the caller. Throws
  // std::system_error when the system has no more.
  Team(int threads, bool flush);
  ~Team();  // the workers must be idle, which they are outside run()
  Team(const Team &) = delete;
  Team &operator=(const Team &) = delete;

  int size() const { return size_; }

  // job(context, t, threads) for t = 0 .. threads - 1, t = 0 on the calling thread; returns when all are done.
  void run(int threads, Job job, void *context);

  // Inside a job, by all of its threads: waits until all have come. True, for all of them, once any came with `stop`.
  bool meet(int threads, bool stop);

 private:
  struct Worker {
    Signal order;  // a counter, so that each differs from the one before, and in the low 8 bits what to do
    std::thread thread;
    std::atomic<int> core{-1};  // on which it began its last job; the runner's too
  };

  void work(int index);
  void takeCore(int index);
  void order(int worker, uint32_t what);
  void stop();

  const int size_;
  const bool flush_;
  int started_ = 1;
  std::unique_ptr<Worker[]> workers_;  // [0] is the runner and has no thread

  static constexpr int kStop = 0;  // others: the number of threads of a job
  Job job_ = nullptr;              // written before, read after the order that asks for it
  void *context_ = nullptr;

  // Who comes counts itself; the last one resets the count and moves the signal, whose lowest bit says `stop`.
  alignas(kCacheLine) std::atomic<int> arrived_{0};
  std::atomic<bool> stopping_{false};
  Signal met_;
};

}  // namespace gradline::cpu
