// Promises of runs: made on the environment's thread, finished on the runner, settled on the environment's thread.
#include "host.h"

#include <cstring>

namespace gradline::addon {

std::shared_ptr<Host> Host::create(Napi::Env env, std::shared_ptr<Device> device) {
  return std::shared_ptr<Host>(new Host(env, std::move(device)));
}

Host::Host(Napi::Env env, std::shared_ptr<Device> device) : env_(env), device_(std::move(device)) {
  channel_ = Channel::New(env, "gradline", 0, 1, this);
  channel_.Unref(env);  // an idle device keeps no process alive
  // Hooks run last in, first out: this one runs while the channel, which has a hook of its own, still exists.
  napi_add_env_cleanup_hook(env_, onTeardown, this);
}

Host::~Host() {
  device_->close();
  if (tornDown_) return;
  napi_remove_env_cleanup_hook(env_, onTeardown, this);
  channel_.Release();
}

// The environment ends (a worker is terminated, or the process exits): nobody will see the promises any more.
void Host::onTeardown(void *pointer) {
  Host *host = static_cast<Host *>(pointer);
  const std::shared_ptr<Host> self = std::move(host->self_);
  host->tornDown_ = true;
  host->device_->close();
  host->done_.clear();
  host->pending_.clear();
}

Napi::Promise Host::run(Napi::Env env, std::shared_ptr<Program> program, uint64_t steps, std::vector<uint8_t> inputs,
                        RunOptions options) {
  const auto deferred = Napi::Promise::Deferred::New(env);
  const uint64_t id = nextId_++;
  device_->enqueue(std::move(program), steps, std::move(inputs), options,
                   [this, id](std::unique_ptr<Run> run) { finished(id, std::move(run)); });
  if (pending_.empty()) {
    channel_.Ref(env);
    self_ = shared_from_this();
  }
  pending_.emplace(id, deferred);
  return deferred.Promise();
}

void Host::finished(uint64_t id, std::unique_ptr<Run> run) {
  bool first;
  {
    const std::lock_guard lock(mutex_);
    first = done_.empty();
    done_.push_back({id, std::move(run)});
  }
  if (first) channel_.NonBlockingCall();
}

void Host::onCall(Napi::Env env, Napi::Function, Host *host, void *) {
  if (static_cast<napi_env>(env) == nullptr) return;  // the environment is gone, and perhaps the host
  try {
    host->settle(env);
  } catch (const Napi::Error &) {
    // A worker that is being terminated runs no JavaScript any more, so no promise can be settled; onTeardown follows.
  }
}

void Host::settle(Napi::Env env) {
  const std::shared_ptr<Host> keep = shared_from_this();
  std::vector<Done> done;
  {
    const std::lock_guard lock(mutex_);
    done.swap(done_);
  }
  for (Done &one : done) {
    const auto found = pending_.find(one.id);
    const Napi::Promise::Deferred deferred = found->second;
    pending_.erase(found);
    try {
      if (one.run->error) {
        deferred.Reject(toJavaScript(env, *one.run->error).Value());
      } else {
        deferred.Resolve(toOutcome(env, *one.run));
      }
    } catch (const Napi::Error &error) {  // the results did not fit into JavaScript's memory
      deferred.Reject(error.Value());
    }
  }
  if (pending_.empty()) {
    channel_.Unref(env);
    self_.reset();
  }
}

Napi::Value Host::toOutcome(Napi::Env env, const Run &run) {
  const size_t bytes = run.completed * run.program->resultBytes();
  const Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(env, bytes);
  if (bytes) std::memcpy(const_cast<Napi::ArrayBuffer &>(buffer).Data(), run.results.get(), bytes);
  Napi::Object outcome = Napi::Object::New(env);
  outcome.Set("steps", static_cast<double>(run.completed));
  outcome.Set("results", Napi::Uint8Array::New(env, bytes, buffer, 0));
  if (run.options.timed) {
    const size_t count = run.completed * run.program->image().ops.size();
    const Napi::Float64Array seconds = Napi::Float64Array::New(env, count);
    for (size_t i = 0; i < count; i++) const_cast<Napi::Float64Array &>(seconds)[i] = run.seconds[i];
    outcome.Set("seconds", seconds);
  }
  return outcome;
}

}  // namespace gradline::addon
