// Memory, the queue and the runner thread of a device.
#include "device.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <future>
#include <limits>
#include <new>

#include "machine.h"

namespace gradline {
namespace {

constexpr auto kSpin = std::chrono::microseconds(100);  // about what a sleep and a wake-up cost together
constexpr uint64_t kMaxResultBytes = uint64_t{1} << 30;

// Linux promises more memory than there is and kills the process when it is touched, so ask first. Backends of other
// names have memory of their own.
uint64_t memoryLimitOf(const Backend &backend) {
  const bool host = std::strcmp(backend.name, "cpu") == 0 || std::strcmp(backend.name, "ref") == 0;
  return host ? readMachine().memory : std::numeric_limits<uint64_t>::max();
}

}  // namespace

std::shared_ptr<Device> Device::open(const Backend &backend, DeviceOptions options, const std::string &isa) {
  ErrorText error{};
  if (options.cores == 0) options.cores = readMachine().cores;
  if (options.threads == 0) options.threads = options.cores;
  if (isa.size() >= sizeof options.isa) throw Error(ErrorCode::argument, "unknown instruction set \"" + isa + "\"");
  std::memcpy(options.isa, isa.c_str(), isa.size());
  void *handle = backend.open(&options, &error);
  if (!handle) throw Error(ErrorCode::backend, std::string("cannot open device ") + backend.name + ": " + error.text);
  std::shared_ptr<Device> device(new Device(backend, handle));
  // The runner holds the device, so that whatever it drops last cannot be the device itself.
  device->runner_ = std::thread([device] { device->runnerLoop(); });
  return device;
}

Device::Device(const Backend &backend, void *handle)
    : backend_(backend), handle_(handle), memoryLimit_(memoryLimitOf(backend)) {}

Device::~Device() { backend_.close(handle_); }

int32_t Device::threads() const { return backend_.threads(handle_); }

double Device::peak(double seconds) const { return backend_.peak(handle_, seconds); }

std::string Device::describe() const {
  ErrorText text{};
  const std::lock_guard lock(backendLock_);
  backend_.describe(handle_, &text);
  return text.text;
}

void Device::requireOpen() const {
  if (closing_) throw Error(ErrorCode::closed, "the device is closed");
}

void Device::requireHealthy() const {
  ErrorText what{};
  if (backend_.failure && backend_.failure(handle_, &what) != 0) throw Error(ErrorCode::backend, what.text);
}

// ---- Memory

void Device::requireMemory(uint64_t bytes, const std::string &what) const {
  if (bytes <= memoryLimit_ && allocated_ <= memoryLimit_ - bytes) return;
  throw Error(ErrorCode::memory, "out of memory: cannot allocate " + std::to_string(bytes) + " bytes for " + what +
                                     ", " + std::to_string(allocated_) + " of " + std::to_string(memoryLimit_) +
                                     " bytes are in use by this device");
}

std::shared_ptr<Storage> Device::newStorage(uint64_t bytes, const std::string &what) {
  requireMemory(bytes, what);
  void *data = backend_.alloc(handle_, std::max<uint64_t>(bytes, 1));
  requireHealthy();
  if (!data) {
    uint64_t left = 0, total = 0;
    const bool known = backend_.room && backend_.room(handle_, &left, &total);
    throw Error(
        ErrorCode::memory,
        "out of memory: device " + std::string(backend_.name) + " has no " + std::to_string(bytes) +
            " bytes left for " + what +
            (known ? ", of its " + std::to_string(total) + " bytes " + std::to_string(left) + " are free" : ""));
  }
  allocated_ += bytes;
  return own(new Storage(*this, data, bytes));
}

void Device::release(void *memory, uint64_t bytes) {
  backend_.release(handle_, memory);
  allocated_ -= bytes;
}

void Device::discard(Resource *resource) {
  {
    const std::lock_guard lock(mutex_);
    discarded_.push_back(resource);
    work_ = true;
  }
  wake_.notify_one();
  // After close there is no runner, and only its owner's thread is left. A program that ends drops its storages, which
  // come back here; destroyDiscarded takes them up by itself.
  if (closed_ && !destroying_) {
    const std::lock_guard lock(backendLock_);
    destroyDiscarded();
  }
}

void Device::destroyDiscarded() {
  destroying_ = true;
  for (;;) {
    std::vector<Resource *> dropped;
    {
      const std::lock_guard lock(mutex_);
      dropped.swap(discarded_);
    }
    if (dropped.empty()) break;
    for (Resource *resource : dropped) delete resource;
  }
  destroying_ = false;
}

std::shared_ptr<Storage> Device::allocate(uint64_t bytes) {
  requireOpen();
  const std::lock_guard lock(backendLock_);
  destroyDiscarded();
  return newStorage(bytes, "a storage");
}

void Device::read(const Storage &storage, uint64_t offset, void *into, uint64_t bytes) const {
  if (storage.busy()) throw Error(ErrorCode::busy, "the storage is in use by a run; wait for it before reading");
  const std::lock_guard lock(backendLock_);
  backend_.read(handle_, into, static_cast<const char *>(storage.data_) + offset, bytes);
  requireHealthy();
}

void Device::write(Storage &storage, uint64_t offset, const void *from, uint64_t bytes) {
  if (storage.busy()) throw Error(ErrorCode::busy, "the storage is in use by a run; wait for it before writing");
  const std::lock_guard lock(backendLock_);
  backend_.write(handle_, static_cast<char *>(storage.data_) + offset, from, bytes);
  requireHealthy();
}

// ---- Programs

Measure Device::measure(const uint8_t *bytes, size_t size) {
  requireOpen();
  Image image = decode(bytes, size);
  verify(image);
  RunStatus status{};
  const std::lock_guard lock(backendLock_);
  return Executable(*this, image, status).measure();
}

std::shared_ptr<Program> Device::load(const uint8_t *bytes, size_t size,
                                      std::vector<std::shared_ptr<Storage>> storages) {
  requireOpen();
  Image image = decode(bytes, size);
  verify(image);
  const std::lock_guard lock(backendLock_);
  destroyDiscarded();
  return own(new Program(*this, std::move(image), std::move(storages)));
}

// ---- Runs

void Device::enqueue(std::shared_ptr<Program> program, uint64_t steps, std::vector<uint8_t> inputs, RunOptions options,
                     Finished finished) {
  requireOpen();
  const uint64_t timesBytes = options.timed ? program->image().ops.size() * sizeof(double) : 0;
  if (timesBytes > 0 && steps > kMaxResultBytes / timesBytes) {
    throw Error(ErrorCode::argument, "the times of " + std::to_string(steps) + " steps exceed 1 GiB; profile fewer");
  }
  const uint64_t resultBytes = program->resultBytes();
  if (resultBytes > 0 && steps > kMaxResultBytes / resultBytes) {
    throw Error(ErrorCode::argument, "the results of " + std::to_string(steps) + " steps of " +
                                         std::to_string(resultBytes) + " bytes exceed 1 GiB; run fewer steps at once");
  }
  auto run = std::make_unique<Run>();
  run->steps = steps;
  run->inputs = std::move(inputs);
  run->options = options;
  run->seconds.resize(steps * timesBytes / sizeof(double));
  run->results.reset(new (std::nothrow) uint8_t[steps * resultBytes + 1]);
  if (!run->results) {
    throw Error(ErrorCode::memory, "out of memory: no " + std::to_string(steps * resultBytes) + " bytes for results");
  }
  run->stopsBefore = program->stops_.load(std::memory_order_acquire);
  run->program = std::move(program);
  if (options.slot >= 0) run->program->slots_->slots_[options.slot].busy.store(true, std::memory_order_relaxed);
  {
    const std::lock_guard lock(mutex_);
    const Program &owner = *run->program;
    queue_.push_back({std::move(run), std::move(finished)});
    for (const auto &storage : owner.memory_) storage->users_.fetch_add(1, std::memory_order_relaxed);
    work_ = true;
  }
  wake_.notify_one();
}

std::unique_ptr<Run> Device::runAndWait(std::shared_ptr<Program> program, uint64_t steps, std::vector<uint8_t> inputs) {
  std::promise<std::unique_ptr<Run>> promise;
  enqueue(std::move(program), steps, std::move(inputs), {},
          [&promise](std::unique_ptr<Run> run) { promise.set_value(std::move(run)); });
  return promise.get_future().get();
}

void Device::close() {
  if (closed_) return;
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    work_ = true;
  }
  wake_.notify_one();
  runner_.join();
  closed_ = true;
  const std::lock_guard lock(backendLock_);
  destroyDiscarded();
}

void Device::runnerLoop() {
  while (auto queued = next()) {
    if (queued->run->options.slot >= 0 && backend_.feed) {
      feed(std::move(*queued));
      continue;
    }
    try {
      execute(*queued->run);
    } catch (const std::exception &e) {  // no room for an error text, at worst; nothing may leave the thread
      queued->run->error = Error(ErrorCode::backend, e.what());
      queued->run->error->completed = static_cast<int64_t>(queued->run->completed);
      queued->run->program->failed_ = true;
    }
    finish(std::move(*queued));
  }
  for (;;) {
    std::unique_lock lock(mutex_);
    if (queue_.empty()) return;
    Queued queued = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    queued.run->error = Error(ErrorCode::closed, "the device was closed before this run began");
    queued.run->error->completed = 0;
    finish(std::move(queued));
  }
}

// The next run, or none when the device closes. Discarded resources end here, between runs.
std::optional<Device::Queued> Device::next() {
  for (;;) {
    bool discarded;
    {
      const std::lock_guard lock(mutex_);
      if (closing_) return std::nullopt;
      discarded = !discarded_.empty();
      if (!discarded && !queue_.empty()) {
        Queued queued = std::move(queue_.front());
        queue_.pop_front();
        return queued;
      }
      if (!discarded) work_ = false;
    }
    if (discarded) {
      const std::lock_guard lock(backendLock_);
      destroyDiscarded();
    } else {
      waitForWork();
    }
  }
}

// Spins for a moment, since the next small run often follows at once; then lets the workers sleep, and sleeps.
void Device::waitForWork() {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  while (std::chrono::steady_clock::now() < end) {
    if (work_.load(std::memory_order_acquire)) return;
  }
  {
    const std::lock_guard lock(backendLock_);
    backend_.park(handle_);
  }
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [this] { return work_.load(); });
}

void Device::execute(Run &run) {
  Program &program = *run.program;
  const auto stopped = [&] { return program.stops_.load(std::memory_order_acquire) != run.stopsBefore; };
  if (run.options.continues && program.failed_) return;
  program.failed_ = false;
  if (!stopped()) {
    const std::lock_guard lock(backendLock_);
    const uint8_t *slot = run.options.slot < 0 ? nullptr : program.slots_->slots_[run.options.slot].memory;
    const uint8_t *from = run.inputs.data();
    for (uint32_t id : program.image_.inputs) {
      const Tensor &t = program.image_.values[id];
      char *to = static_cast<char *>(program.memory_[t.region]->data_) + t.offset;
      backend_.write(handle_, to, slot ? slot + t.offset : from, bytesOf(t));
      from += slot ? 0 : bytesOf(t);
    }
    requireHealthy();
  }
  const auto asked = [](const void *context) { return (*static_cast<const decltype(stopped) *>(context))(); };
  while (run.completed < run.steps && !stopped()) {
    if (closing_) {
      run.error = Error(ErrorCode::closed, "the device was closed after " + std::to_string(run.completed) + " of " +
                                               std::to_string(run.steps) + " steps");
      run.error->completed = static_cast<int64_t>(run.completed);
      return;
    }
    const std::lock_guard lock(backendLock_);
    program.status_ = RunStatus{};
    run.completed += advance(run, {asked, &stopped});
    requireHealthy();
    if (program.status_.fault != 0) {
      run.error = program.fault(run.completed);
      program.failed_ = true;
      return;
    }
  }
}

// One step, or as many as the backend does at once; the number of those that ended without a fault.
uint64_t Device::advance(Run &run, StopSign sign) {
  Program &program = *run.program;
  uint8_t *results = run.results.get() + run.completed * program.resultBytes_;
  void *executable = program.executable_.handle();
  if (backend_.run && !run.options.timed)
    return backend_.run(executable, run.steps - run.completed, results, sign, &program.status_);
  double *seconds = run.options.timed ? run.seconds.data() + run.completed * program.image_.ops.size() : nullptr;
  backend_.step(executable, &program.status_, seconds);
  if (program.status_.fault != 0) return 0;
  if (program.resultBytes_ > 0) {
    const Storage &metrics = *program.memory_[static_cast<size_t>(program.image_.metricRegion)];
    backend_.read(handle_, results, metrics.data_, program.resultBytes_);
  }
  return 1;
}

void Device::finish(Queued queued) {
  const Program &program = *queued.run->program;
  for (const auto &storage : program.memory_) storage->users_.fetch_sub(1, std::memory_order_release);
  if (const int32_t slot = queued.run->options.slot; slot >= 0)
    program.slots_->slots_[slot].busy.store(false, std::memory_order_release);
  queued.finished(std::move(queued.run));
}

}  // namespace gradline
