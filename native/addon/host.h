// A device as one JavaScript environment holds it: the core's device and the way back from its runner thread, which is
// one thread-safe function that settles all promises finished since its last call. Everything but `finished` runs on
// the environment's own thread.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "../core/device.h"
#include "values.h"

namespace gradline::addon {

class Host : public std::enable_shared_from_this<Host> {
 public:
  static std::shared_ptr<Host> create(Napi::Env env, std::shared_ptr<Device> device);
  // Closes the device. No run is pending then: a pending run holds its host.
  ~Host();
  Host(const Host &) = delete;

  Device &device() const { return *device_; }
  Napi::Promise run(Napi::Env env, std::shared_ptr<Program> program, uint64_t steps, std::vector<uint8_t> inputs,
                    RunOptions options);
  static Napi::Value toOutcome(Napi::Env env, const Run &run);  // { steps, results, seconds if timed }

 private:
  struct Done {
    uint64_t id;
    std::unique_ptr<Run> run;
  };
  static void onCall(Napi::Env env, Napi::Function, Host *host, void *);
  using Channel = Napi::TypedThreadSafeFunction<Host, void, &Host::onCall>;

  Host(Napi::Env env, std::shared_ptr<Device> device);
  static void onTeardown(void *host);
  void finished(uint64_t id, std::unique_ptr<Run> run);  // on the runner thread
  void settle(Napi::Env env);

  const napi_env env_;
  const std::shared_ptr<Device> device_;
  Channel channel_;
  bool tornDown_ = false;
  uint64_t nextId_ = 0;
  std::map<uint64_t, Napi::Promise::Deferred> pending_;
  std::shared_ptr<Host> self_;  // set while runs are pending: the runner holds a plain pointer to this host

  std::mutex mutex_;  // of done_
  std::vector<Done> done_;
};

}  // namespace gradline::addon
