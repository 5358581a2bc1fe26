// The part of the CUDA runtime that the host code uses, under its own names, for the emulated card: memory of memory.h,
// kernels by fibers.h. Work on a stream waits until somebody waits for it, so that host code which reads too early
// reads nothing, and work of one stream that another needs has happened only if an event orders them. Every call checks
// what the card would refuse and what it would forgive: handles and ranges that are gone, calls that a capture forbids.
// It is no copy of a driver: one card, no peers, no managed memory, no default stream.
#pragma once
#include <cstddef>
#include <cstdint>

enum cudaError_t : int {  // numbers as in CUDA
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorNotReady = 600,
  cudaErrorIllegalAddress = 700,
  cudaErrorLaunchFailure = 719,
  cudaErrorCooperativeLaunchTooLarge = 720,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureInvalidated = 901,
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal = 1 };
constexpr unsigned cudaStreamNonBlocking = 1, cudaEventDefault = 0, cudaEventBlockingSync = 1,
                   cudaEventDisableTiming = 2, cudaHostAllocDefault = 0;

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3(unsigned vx = 1, unsigned vy = 1, unsigned vz = 1) : x(vx), y(vy), z(vz) {}
};
struct cudaDeviceProp {
  char name[256];
  size_t totalGlobalMem;
  int major, minor, multiProcessorCount;
};
struct cudaFuncAttributes {
  int maxThreadsPerBlock;
};
using cudaStream_t = struct CUstream_st *;
using cudaEvent_t = struct CUevent_st *;
using cudaGraph_t = struct CUgraph_st *;
using cudaGraphExec_t = struct CUgraphExec_st *;

const char *cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError();  // and forgets it
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaRuntimeGetVersion(int *version);
cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device);
cudaError_t cudaSetDevice(int device);

cudaError_t cudaMalloc(void **memory, size_t bytes);
cudaError_t cudaFree(void *memory);
cudaError_t cudaMemGetInfo(size_t *free, size_t *total);
cudaError_t cudaHostAlloc(void **memory, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void *memory);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream);

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *attributes, const void *function);
cudaError_t cudaLaunchKernel(const void *function, dim3 grid, dim3 block, void **arguments, size_t shared,
                             cudaStream_t stream);
// All blocks at once, so that they may wait for each other.
cudaError_t cudaLaunchCooperativeKernel(const void *function, dim3 grid, dim3 block, void **arguments, size_t shared,
                                        cudaStream_t stream);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
// Reached when it is asked for the second time, so that both answers occur.
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t from, cudaEvent_t to);

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *executable, cudaGraph_t graph, unsigned long long flags);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable);
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream);
// Runs `function` on the host in its place in the stream; how a stand-in for a library puts its work there.
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, void (*function)(void *), void *data);

namespace gradline::cuda::emulator {

// What is wrong with the emulated machine; all of it may be changed at any time.
struct Trouble {
  int driver = 13000, runtime = 13000;  // versions; driver 0: none is installed
  int devices = 1;
  int multiprocessors = 3;            // each holds one block of a launch whose blocks wait for each other
  int major = 9, minor = 0;           // what the card can do
  size_t memory = size_t{256} << 20;  // bytes that it has
  uint64_t failAt = 0;                // this call from now on fails, counted from 1; 0: none
  cudaError_t with = cudaErrorLaunchFailure;
  // Streams made from now on do what they may as early as they can, not as late: the other way in which two streams
  // that no event orders can meet; or do not wait for events, as if the host had forgotten to ask for it.
  bool eager = false, deaf = false;
  bool lost = false;  // set by a failure of a kind that no card recovers from
};
Trouble &trouble();

uint64_t calls();         // made so far
uint32_t blocksAtOnce();  // of the largest launch whose blocks stand alone, since this was asked last
// Memory, streams, events and graphs that exist, one word each.
size_t liveObjects();

}  // namespace gradline::cuda::emulator
