// Streams, graphs, events and memory of the emulated card: see runtime.h. One lock over everything, since devices of
// several threads share the one card.
#include "runtime.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "card.h"
#include "fibers.h"

namespace {

using gradline::cuda::Launch;
using namespace gradline::cuda::emulator;

struct Copy {
  void *to;
  const void *from;
  size_t bytes;
  std::shared_ptr<std::vector<char>> staged;  // of pageable memory, taken when the call was made
};
struct Fill {
  void *to;
  int value;
  size_t bytes;
};
struct HostCall {
  void (*function)(void *);
  void *data;
};
struct Mark {
  cudaEvent_t event;
  uint64_t number;  // of this record of the event
};
struct Wait {
  cudaEvent_t event;
  uint64_t number;  // of the record that was the last when the wait was asked for
};
struct Replay {
  cudaGraphExec_t executable;
};
using Node = std::variant<Launch, Copy, Fill, HostCall, Mark, Wait, Replay>;
using Nodes = std::vector<Node>;

}  // namespace

struct CUstream_st {
  std::deque<Node> pending;
  bool capturing = false, invalid = false;
  bool eager = false, deaf = false;
  bool advancing = false;  // its work is being done, further down on the stack of calls
  std::thread::id capturer;
  Nodes captured;
};
struct CUevent_st {
  bool timed;
  uint64_t recorded = 0, done = 0;  // how often it was, and the last record that was reached
  bool asked = false;
  cudaStream_t stream = nullptr;  // of the last record, until that is reached
  std::chrono::steady_clock::time_point reached;
};
struct CUgraph_st {
  Nodes nodes;
};
struct CUgraphExec_st {
  Nodes nodes;
};

namespace {

struct Card {
  std::recursive_mutex lock;
  Trouble trouble;
  uint64_t calls = 0;
  uint32_t most = 0;  // blocks of a launch
  cudaError_t last = cudaSuccess;
  std::string finding;  // text of the last illegal access
  size_t used = 0;
  std::map<void *, size_t> device, pinned;
  std::set<cudaStream_t> streams;
  std::set<cudaEvent_t> events;
  std::set<cudaGraph_t> graphs;
  std::set<cudaGraphExec_t> executables;
};
Card &card() {
  static Card *all = new Card;  // outlives whoever still holds something when the process ends
  return *all;
}

cudaError_t fail(cudaError_t error) {
  if (error != cudaSuccess) card().last = error;
  return error;
}

// A misuse that a card might forgive: reported with its reason, and as an error.
cudaError_t misuse(const char *function, const std::string &why) {
  card().finding = std::string(function) + ": " + why;
  return fail(cudaErrorIllegalAddress);
}

bool isSticky(cudaError_t error) { return error == cudaErrorLaunchFailure; }

// The failure that this call meets before it does anything.
cudaError_t begin() {
  Card &c = card();
  c.calls++;
  if (c.trouble.lost) return fail(cudaErrorLaunchFailure);
  if (c.trouble.failAt == 0 || --c.trouble.failAt != 0) return cudaSuccess;
  c.trouble.lost = isSticky(c.trouble.with);
  return fail(c.trouble.with);
}

// The same for what a capture forbids, on whichever stream of this thread.
cudaError_t beginOutsideOfCapture() {
  if (const cudaError_t error = begin()) return error;
  for (cudaStream_t stream : card().streams) {
    if (!stream->capturing || stream->capturer != std::this_thread::get_id()) continue;
    stream->invalid = true;
    return fail(cudaErrorStreamCaptureUnsupported);
  }
  return cudaSuccess;
}

#define CARD_LOCK const std::lock_guard<std::recursive_mutex> guard(card().lock)
#define CARD_BEGIN(how) \
  CARD_LOCK;            \
  if (const cudaError_t error = how()) return error

bool isHeld(const std::map<void *, size_t> &memory, const void *at, size_t bytes) {
  auto after = memory.upper_bound(const_cast<void *>(at));
  if (after == memory.begin()) return false;
  const auto &[start, size] = *std::prev(after);
  const auto offset = static_cast<size_t>(static_cast<const char *>(at) - static_cast<char *>(start));
  return offset <= size && bytes <= size - offset;
}
bool onCard(const void *at, size_t bytes) { return isHeld(card().device, at, bytes); }
bool isPinned(const void *at, size_t bytes) { return isHeld(card().pinned, at, bytes); }

void goOn(cudaStream_t stream);
void perform(const Node &node);
void performAll(const Nodes &nodes) {
  for (const Node &node : nodes) perform(node);
}

void perform(const Node &node) {
  if (const auto *launch = std::get_if<Launch>(&node)) {
    run(*launch);
  } else if (const auto *copy = std::get_if<Copy>(&node)) {
    const void *from = copy->staged ? copy->staged->data() : copy->from;
    const bool toCard = onCard(copy->to, copy->bytes), fromCard = onCard(from, copy->bytes);
    if ((!toCard && !isPinned(copy->to, copy->bytes)) || (!fromCard && !copy->staged && !isPinned(from, copy->bytes)))
      return report("copy of memory that is gone", "", "");
    std::memmove(copy->to, from, copy->bytes);
    define(copy->to, copy->bytes);
  } else if (const auto *fill = std::get_if<Fill>(&node)) {
    if (!onCard(fill->to, fill->bytes)) return report("memset of memory that is gone", "", "");
    std::memset(fill->to, fill->value, fill->bytes);
    define(fill->to, fill->bytes);
  } else if (const auto *call = std::get_if<HostCall>(&node)) {
    call->function(call->data);
  } else if (const auto *mark = std::get_if<Mark>(&node)) {
    if (card().events.count(mark->event) == 0) return report("record of an event that is gone", "", "");
    mark->event->reached = std::chrono::steady_clock::now();
    mark->event->done = mark->number;
    if (mark->number == mark->event->recorded) mark->event->stream = nullptr;
    for (cudaStream_t stream : card().streams) {
      if (stream->eager) goOn(stream);
    }
  } else if (const auto *replay = std::get_if<Replay>(&node)) {
    if (card().executables.count(replay->executable) == 0) return report("launch of a graph that is gone", "", "");
    performAll(replay->executable->nodes);
  }
}

bool isReached(const Wait &wait) { return card().events.count(wait.event) == 0 || wait.event->done >= wait.number; }

// Does what waits on a stream in order, until `enough`; before a wait for an event of another stream that one goes on.
void advance(cudaStream_t stream, const std::function<bool()> &enough) {
  if (stream->advancing) return report("streams that wait for each other", "", "");
  stream->advancing = true;
  while (!stream->pending.empty() && !enough()) {
    const Node node = std::move(stream->pending.front());
    stream->pending.pop_front();
    const auto *wait = std::get_if<Wait>(&node);
    if (!wait) perform(node);
    if (wait && !isReached(*wait)) advance(wait->event->stream, [&] { return isReached(*wait); });
  }
  stream->advancing = false;
}

// What an eager stream may do without anybody waiting for it.
void goOn(cudaStream_t stream) {
  const auto isHeld = [&] {
    const auto *wait = std::get_if<Wait>(&stream->pending.front());
    return wait && !isReached(*wait);
  };
  if (!stream->advancing) advance(stream, isHeld);
}

cudaError_t told();

// Everything that waits on a stream happens now.
cudaError_t drain(cudaStream_t stream) {
  advance(stream, [] { return false; });
  return told();
}

cudaError_t told() {
  if (findings().empty()) return cudaSuccess;
  const std::string first = findings().front();
  findings().clear();
  return misuse("the emulated card", first);
}

cudaError_t drainAll() {
  cudaError_t error = cudaSuccess;
  for (cudaStream_t stream : card().streams) {
    if (const cudaError_t mine = drain(stream)) error = mine;
  }
  return error;
}

cudaError_t add(const char *function, cudaStream_t stream, Node node) {
  if (card().streams.count(stream) == 0) return misuse(function, "the stream is gone");
  if (stream->capturing) {
    stream->captured.push_back(std::move(node));
    return cudaSuccess;
  }
  stream->pending.push_back(std::move(node));
  if (!stream->eager) return cudaSuccess;
  goOn(stream);
  return told();
}

// Objects end whatever the call returns: what a card reports there is often the failure of earlier work.
template <class T>
cudaError_t end(const char *function, std::set<T *> &all, T *object) {
  const cudaError_t error = begin();
  if (all.erase(object) == 0) return misuse(function, "the object is gone");
  delete object;
  return error;
}

cudaError_t take(std::map<void *, size_t> &from, void **memory, size_t bytes, const char *name) {
  Card &c = card();
  const bool isDevice = &from == &c.device;
  *memory = nullptr;
  if (isDevice && (bytes > c.trouble.memory || c.used > c.trouble.memory - bytes))
    return fail(cudaErrorMemoryAllocation);
  *memory = allocate(bytes, name);
  if (!*memory) return fail(cudaErrorMemoryAllocation);
  if (isDevice) {
    undefine(*memory, bytes);
    c.used += bytes;
  }
  from[*memory] = bytes;
  return cudaSuccess;
}

cudaError_t give(const char *function, std::map<void *, size_t> &back, void *memory) {
  CARD_LOCK;
  cudaError_t error = beginOutsideOfCapture();
  if (!memory) return error;
  if (const cudaError_t pending = drainAll()) error = pending;  // frees wait for the card
  const auto found = back.find(memory);
  if (found == back.end()) return misuse(function, "no such memory");
  if (&back == &card().device) card().used -= found->second;
  back.erase(found);
  release(memory);
  return error;
}

}  // namespace

namespace gradline::cuda::emulator {

Trouble &trouble() { return card().trouble; }
uint64_t calls() { return card().calls; }
uint32_t blocksAtOnce() { return std::exchange(card().most, 0); }
size_t liveObjects() {
  const Card &c = card();
  return c.device.size() + c.pinned.size() + c.streams.size() + c.events.size() + c.graphs.size() +
         c.executables.size();
}

}  // namespace gradline::cuda::emulator

const char *cudaGetErrorString(cudaError_t error) {
  CARD_LOCK;
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInsufficientDriver:
      return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorInvalidResourceHandle:
      return "invalid resource handle";
    case cudaErrorNotReady:
      return "device not ready";
    case cudaErrorIllegalAddress:
      return card().finding.c_str();
    case cudaErrorLaunchFailure:
      return "unspecified launch failure";
    case cudaErrorCooperativeLaunchTooLarge:
      return "too many blocks in cooperative launch";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
  }
  return "unrecognized error code";
}

cudaError_t cudaGetLastError() {
  CARD_LOCK;
  const cudaError_t last = card().trouble.lost ? cudaErrorLaunchFailure : card().last;
  card().last = cudaSuccess;
  return last;
}

cudaError_t cudaDriverGetVersion(int *version) {
  CARD_BEGIN(begin);
  *version = card().trouble.driver;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int *version) {
  CARD_BEGIN(begin);
  *version = card().trouble.runtime;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int *count) {
  CARD_BEGIN(begin);
  const Trouble &t = card().trouble;
  *count = 0;
  if (t.driver / 1000 < t.runtime / 1000) return fail(cudaErrorInsufficientDriver);
  if (t.devices == 0) return fail(cudaErrorNoDevice);
  *count = t.devices;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device) {
  CARD_BEGIN(begin);
  const Trouble &t = card().trouble;
  if (device < 0 || device >= t.devices) return fail(cudaErrorInvalidDevice);
  *properties = {"emulated card", t.memory, t.major, t.minor, t.multiprocessors};
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  CARD_BEGIN(begin);
  return device < 0 || device >= card().trouble.devices ? fail(cudaErrorInvalidDevice) : cudaSuccess;
}

cudaError_t cudaMalloc(void **memory, size_t bytes) {
  CARD_BEGIN(beginOutsideOfCapture);
  return take(card().device, memory, bytes, "memory of the card");
}
cudaError_t cudaFree(void *memory) { return give("cudaFree", card().device, memory); }
cudaError_t cudaMemGetInfo(size_t *free, size_t *total) {
  CARD_BEGIN(begin);
  *total = card().trouble.memory;
  *free = *total - card().used;
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void **memory, size_t bytes, unsigned) {
  CARD_BEGIN(beginOutsideOfCapture);
  return take(card().pinned, memory, bytes, "pinned memory");
}
cudaError_t cudaFreeHost(void *memory) { return give("cudaFreeHost", card().pinned, memory); }

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  CARD_BEGIN(begin);
  const bool reads = kind != cudaMemcpyHostToDevice, writes = kind != cudaMemcpyDeviceToHost;
  if (reads != onCard(from, bytes) || writes != onCard(to, bytes))
    return misuse("cudaMemcpyAsync", "an address of the card lies outside of its memory, or of the host within");
  const bool pageable = (!reads && !isPinned(from, bytes)) || (!writes && !isPinned(to, bytes));
  if (!pageable) return add("cudaMemcpyAsync", stream, Copy{to, from, bytes, nullptr});
  if (card().streams.count(stream) && stream->capturing) {
    stream->invalid = true;
    return fail(cudaErrorStreamCaptureUnsupported);
  }
  if (!reads) {  // the call returns when the host's bytes are taken
    const char *bytesOf = static_cast<const char *>(from);
    auto staged = std::make_shared<std::vector<char>>(bytesOf, bytesOf + bytes);
    return add("cudaMemcpyAsync", stream, Copy{to, nullptr, bytes, std::move(staged)});
  }
  if (card().streams.count(stream) == 0) return misuse("cudaMemcpyAsync", "the stream is gone");
  if (const cudaError_t error = drain(stream)) return error;
  std::memcpy(to, from, bytes);  // the call returns when the copy is made
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream) {
  CARD_BEGIN(begin);
  if (!onCard(memory, bytes)) return misuse("cudaMemsetAsync", "the range lies outside of the card's memory");
  return add("cudaMemsetAsync", stream, Fill{memory, value, bytes});
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned) {
  CARD_BEGIN(beginOutsideOfCapture);
  card().streams.insert(*stream = new CUstream_st);
  (*stream)->eager = card().trouble.eager;
  (*stream)->deaf = card().trouble.deaf;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  CARD_LOCK;
  if (card().streams.count(stream)) (void)drain(stream);
  return end("cudaStreamDestroy", card().streams, stream);
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  CARD_BEGIN(beginOutsideOfCapture);
  if (card().streams.count(stream) == 0) return misuse("cudaStreamSynchronize", "the stream is gone");
  return drain(stream);
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *attributes, const void *) {
  CARD_BEGIN(beginOutsideOfCapture);
  attributes->maxThreadsPerBlock = gradline::cuda::kMaxThreads;
  return cudaSuccess;
}
static cudaError_t launchKernel(const void *function, dim3 grid, dim3 block, void **arguments, size_t shared,
                                cudaStream_t stream, bool together) {
  const auto *kernel = static_cast<const Kernel *>(function);
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535 || block.x == 0 ||
      block.x * block.y * block.z > gradline::cuda::kMaxThreads || block.x % 32 != 0 || block.y * block.z != 1 ||
      shared > (size_t{48} << 10))
    return fail(cudaErrorInvalidValue);
  Launch launch = {};
  launch.function = function;
  launch.name = kernel->name;
  launch.grid[0] = grid.x;
  launch.grid[1] = grid.y;
  launch.grid[2] = grid.z;
  launch.threads = block.x;
  launch.sharedBytes = static_cast<uint32_t>(shared);
  launch.together = together;
  if (!together) card().most = std::max(card().most, grid.x);
  launch.argumentBytes = static_cast<uint32_t>(kernel->argumentBytes);
  std::memcpy(launch.argument, arguments[0], kernel->argumentBytes);
  return add("cudaLaunchKernel", stream, launch);
}
cudaError_t cudaLaunchKernel(const void *function, dim3 grid, dim3 block, void **arguments, size_t shared,
                             cudaStream_t stream) {
  CARD_BEGIN(begin);
  return launchKernel(function, grid, block, arguments, shared, stream, false);
}
cudaError_t cudaLaunchCooperativeKernel(const void *function, dim3 grid, dim3 block, void **arguments, size_t shared,
                                        cudaStream_t stream) {
  CARD_BEGIN(begin);
  if (grid.x * grid.y * grid.z > static_cast<unsigned>(card().trouble.multiprocessors))
    return fail(cudaErrorCooperativeLaunchTooLarge);
  return launchKernel(function, grid, block, arguments, shared, stream, true);
}
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, void (*function)(void *), void *data) {
  CARD_BEGIN(begin);
  return add("cudaLaunchHostFunc", stream, HostCall{function, data});
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) {
  CARD_BEGIN(begin);
  *event = new CUevent_st;
  (*event)->timed = (flags & cudaEventDisableTiming) == 0;
  card().events.insert(*event);
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  CARD_LOCK;
  if (card().events.count(event) && event->stream) (void)drain(event->stream);
  return end("cudaEventDestroy", card().events, event);
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  CARD_BEGIN(begin);
  if (card().events.count(event) == 0) return misuse("cudaEventRecord", "the event is gone");
  if (card().streams.count(stream) == 0) return misuse("cudaEventRecord", "the stream is gone");
  if (stream->capturing) return add("cudaEventRecord", stream, Mark{event, 0});
  event->recorded++;
  event->asked = false;
  event->stream = stream;
  return add("cudaEventRecord", stream, Mark{event, event->recorded});
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  CARD_BEGIN(beginOutsideOfCapture);
  if (card().events.count(event) == 0) return misuse("cudaEventSynchronize", "the event is gone");
  const Wait wait = {event, event->recorded};
  if (event->stream) advance(event->stream, [&] { return isReached(wait); });
  return told();
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  CARD_BEGIN(beginOutsideOfCapture);
  if (card().events.count(event) == 0) return misuse("cudaEventQuery", "the event is gone");
  const Wait wait = {event, event->recorded};
  if (!event->asked && !isReached(wait)) {
    event->asked = true;
    return fail(cudaErrorNotReady);
  }
  if (event->stream) advance(event->stream, [&] { return isReached(wait); });
  return told();
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  CARD_BEGIN(begin);
  if (card().events.count(event) == 0) return misuse("cudaStreamWaitEvent", "the event is gone");
  if (card().streams.count(stream) && stream->capturing)
    return misuse("cudaStreamWaitEvent", "a capture would take the other stream into it");
  if (card().streams.count(stream) && stream->deaf) return cudaSuccess;
  return add("cudaStreamWaitEvent", stream, Wait{event, event->recorded});
}
cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t from, cudaEvent_t to) {
  CARD_BEGIN(begin);
  if (card().events.count(from) == 0 || card().events.count(to) == 0 || !from->timed || !to->timed)
    return fail(cudaErrorInvalidResourceHandle);
  if (from->stream || to->stream) return misuse("cudaEventElapsedTime", "an event is not reached yet");
  *milliseconds = std::chrono::duration<float, std::milli>(to->reached - from->reached).count();
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  CARD_BEGIN(beginOutsideOfCapture);
  if (card().streams.count(stream) == 0) return misuse("cudaStreamBeginCapture", "the stream is gone");
  stream->capturing = true;
  stream->capturer = std::this_thread::get_id();
  stream->invalid = false;
  stream->captured.clear();
  return cudaSuccess;
}
// Ends the capture even when it fails.
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
  CARD_LOCK;
  const cudaError_t error = begin();
  *graph = nullptr;
  if (card().streams.count(stream) == 0 || !stream->capturing)
    return misuse("cudaStreamEndCapture", "no capture is under way");
  stream->capturing = false;
  if (error) return error;
  if (stream->invalid) return fail(cudaErrorStreamCaptureInvalidated);
  *graph = new CUgraph_st{std::move(stream->captured)};
  card().graphs.insert(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *executable, cudaGraph_t graph, unsigned long long) {
  CARD_BEGIN(beginOutsideOfCapture);
  *executable = nullptr;
  if (card().graphs.count(graph) == 0) return misuse("cudaGraphInstantiate", "the graph is gone");
  card().executables.insert(*executable = new CUgraphExec_st{graph->nodes});
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  CARD_LOCK;
  return end("cudaGraphDestroy", card().graphs, graph);
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  CARD_LOCK;
  (void)drainAll();
  return end("cudaGraphExecDestroy", card().executables, executable);
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  CARD_BEGIN(begin);
  if (card().executables.count(executable) == 0) return misuse("cudaGraphLaunch", "the graph is gone");
  return add("cudaGraphLaunch", stream, Replay{executable});
}

const EmulatedCard *gradline_emulated_card() {
  static const EmulatedCard made = {
      [](void **memory, size_t bytes) { return static_cast<int>(cudaMalloc(memory, bytes)); },
      [](void *memory) { return static_cast<int>(cudaFree(memory)); },
      [](const void *at, size_t bytes) {
        CARD_LOCK;
        return onCard(at, bytes);
      },
      isDefined,
      define,
      [](const void *stream) {
        CARD_LOCK;
        return card().streams.count(static_cast<cudaStream_t>(const_cast<void *>(stream))) > 0;
      },
      [] {
        CARD_LOCK;
        for (cudaStream_t stream : card().streams)
          if (stream->capturing && stream->capturer == std::this_thread::get_id()) return true;
        return false;
      },
      [](void *stream, void (*work)(void *), void *data) {
        return static_cast<int>(cudaLaunchHostFunc(static_cast<cudaStream_t>(stream), work, data));
      },
      [](void *stream) -> int {
        if (stream) return cudaStreamSynchronize(static_cast<cudaStream_t>(stream));
        CARD_BEGIN(beginOutsideOfCapture);
        return drainAll();
      },
  };
  return &made;
}
