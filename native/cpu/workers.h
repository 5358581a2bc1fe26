// The team of threads of one CPU device, and how many threads the process may use. A team runs one job at a time, given
// by the runner thread, which takes part itself. It knows nothing of ops; units and shares are the caller's business.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>

namespace gradline::cpu {

// Threads that can run at once: the affinity mask, cut down by the cpu quota of the control group (v1 and v2); at
// least 1.
int usableCores();

// Denormal numbers count as zero on this thread while an object of this class lives: Adam's moments of dead units decay
// into denormals, which many processors handle a hundred times slower. x86 and 64-bit ARM; elsewhere it does nothing.
class FlushDenormals {
 public:
  FlushDenormals();
  ~FlushDenormals();
  FlushDenormals(const FlushDenormals &) = delete;
  FlushDenormals &operator=(const FlushDenormals &) = delete;

 private:
  uint32_t saved_;
};

constexpr int kMaxThreads = 255;

class Team {
 public:
  using Job = void (*)(const void *context, int thread, int threads);

  // 1 <= threads <= kMaxThreads, the caller of run() included. Throws std::system_error when the system has no more.
  explicit Team(int threads);
  ~Team();  // the workers must be idle, which they are outside run()
  Team(const Team &) = delete;
  Team &operator=(const Team &) = delete;

  int size() const { return size_; }

  // job(context, t, threads) for t = 0 .. threads - 1, t = 0 on the calling thread; returns when all are done. A
  // hand-off to spinning workers takes well under a microsecond. 2 <= threads <= size().
  void run(int threads, Job job, const void *context);

  // Lets the workers sleep at once; without it they spin for a while after their last job.
  void park();

 private:
  static constexpr int kCacheLine = 128;  // two lines: processors fetch them in pairs
  struct alignas(kCacheLine) Worker {
    std::atomic<uint32_t> asleep{0};
    std::thread thread;
  };

  void work(int index);
  uint64_t awaitOrder(int index, uint64_t seen, bool spin);
  void order(uint64_t what, int upTo);
  void stop();

  const int size_;
  int started_ = 1;
  std::unique_ptr<Worker[]> workers_;  // [0] is the runner and has no thread

  // An order is a counter, so that each differs from the one before, and in the low 8 bits what to do.
  static constexpr uint64_t kStop = 0, kPark = 1;  // others: the number of threads of a job
  alignas(kCacheLine) std::atomic<uint64_t> order_{kPark};
  Job job_ = nullptr;  // written before, read after the order that asks for it
  const void *context_ = nullptr;
  uint64_t expected_ = 0;  // value of finished_ when the job is done; counts on, so that only workers write that line
  alignas(kCacheLine) std::atomic<uint64_t> finished_{0};
};

}  // namespace gradline::cpu
