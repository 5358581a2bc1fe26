// A device: one backend handle, one runner thread, one queue of runs in order of arrival. It makes and ends all
// storages and programs. It knows nothing of JavaScript; completions are called on the runner thread.
//
// Threads: the backend takes calls from one thread at a time, so every call to it holds `backendLock_`. The runner
// takes it per step, or per some 20 ms of steps where the backend runs many at once, so others wait no longer. Storages
// and programs may be dropped on any thread, in finalizers too: they go to a list that the runner empties, and nobody
// waits.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "fairlock.h"
#include "program.h"

namespace gradline {

struct RunOptions {
  bool continues = false;  // does nothing when the run of this program before it failed
  bool timed = false;      // takes the time of every op
  int32_t slot = -1;       // of the program, where the inputs of its one step stand; -1: they come with the run
};

struct Run {
  std::shared_ptr<Program> program;
  uint64_t steps = 0;
  std::vector<uint8_t> inputs;  // all input values, one after the other, in the order of the program
  uint64_t stopsBefore = 0;     // stops that were asked for before this run was queued
  RunOptions options;

  // Outcome: `results` holds resultBytes of the program for each completed step; a timed run has the seconds of each
  // op for each completed step.
  std::unique_ptr<uint8_t[]> results;
  std::vector<double> seconds;
  uint64_t completed = 0;
  std::optional<Error> error;
};

class Device : public std::enable_shared_from_this<Device> {
 public:
  // In the options, threads 0: as many as the process may use; cores 0: those that it may use. `isa` goes to
  // options.isa; "": the best of the machine. Throws Error (argument, backend).
  static std::shared_ptr<Device> open(const Backend &backend, DeviceOptions options, const std::string &isa);
  ~Device();
  Device(const Device &) = delete;

  int32_t threads() const;
  std::string describe() const;
  double peak(double seconds) const;

  // Zeroed memory, aligned to kAlignment. Throws Error (memory, closed).
  std::shared_ptr<Storage> allocate(uint64_t bytes);
  // Wait for the running step. Throw Error (busy) while a queued or running program uses the storage.
  void read(const Storage &storage, uint64_t offset, void *into, uint64_t bytes) const;
  void write(Storage &storage, uint64_t offset, const void *from, uint64_t bytes);

  // What load would allocate. Throws Error (program, backend, closed).
  Measure measure(const uint8_t *bytes, size_t size);
  // One storage per external region, null for the others. Throws Error (program, argument, memory, backend, closed).
  std::shared_ptr<Program> load(const uint8_t *bytes, size_t size, std::vector<std::shared_ptr<Storage>> storages);

  // Queues a run; `inputs` has exactly inputBytes of the program. `finished` is called once, on the runner thread,
  // after the program's storages are free again. Throws Error (argument, memory, closed).
  using Finished = std::function<void(std::unique_ptr<Run>)>;
  void enqueue(std::shared_ptr<Program> program, uint64_t steps, std::vector<uint8_t> inputs, RunOptions options,
               Finished finished);
  // Slots of a program, made at the first call. Throws Error (argument, memory, closed).
  uint32_t openSlots(Program &program);
  // Memory for the inputs of a run with that slot, each at its offset. Throws Error (argument), and (busy) from the
  // queueing of such a run until it is done.
  uint8_t *slot(Program &program, uint32_t index);
  // Queues a run and waits until it is done.
  std::unique_ptr<Run> runAndWait(std::shared_ptr<Program> program, uint64_t steps, std::vector<uint8_t> inputs);

  // Stops the running program at the next step boundary, fails what is queued, ends the runner; storages stay readable.
  // Whoever opened a device has to close it; never called on the runner thread.
  void close();

 private:
  friend class Program;
  friend class Executable;
  friend class Storage;
  friend class Slots;
  struct Queued {
    std::unique_ptr<Run> run;
    Finished finished;
  };

  Device(const Backend &backend, void *handle);
  void requireOpen() const;

  // Ownership whose end only puts the resource on the list.
  template <class T>
  std::shared_ptr<T> own(T *resource) {
    return std::shared_ptr<T>(resource, [self = shared_from_this()](T *dropped) { self->discard(dropped); });
  }
  void discard(Resource *resource);

  // With backendLock_ held:
  void requireHealthy() const;
  std::shared_ptr<Storage> newStorage(uint64_t bytes, const std::string &what);
  void requireMemory(uint64_t bytes, const std::string &what) const;
  void release(void *memory, uint64_t bytes);
  void destroyDiscarded();

  void runnerLoop();
  std::optional<Queued> next();
  void waitForWork();
  void execute(Run &run);
  uint64_t advance(Run &run, StopSign sign);
  static void finish(Queued queued);
  // Runs with slots, on devices with memory of their own; see feed.cc.
  struct Feeding;
  void feed(Queued queued);

  const Backend &backend_;
  void *const handle_;
  const uint64_t memoryLimit_;
  mutable FairLock backendLock_;
  uint64_t allocated_ = 0;  // bytes; under backendLock_
  std::atomic<bool> destroying_{false};

  std::mutex mutex_;  // of the four below
  std::condition_variable wake_;
  std::deque<Queued> queue_;
  std::vector<Resource *> discarded_;
  std::atomic<bool> work_{false};  // set when something is queued or discarded or closing begins; read while spinning
  std::atomic<bool> closing_{false}, closed_{false};
  std::thread runner_;
};

}  // namespace gradline
