// A device as JavaScript uses it: context, one stream, one handle with its workspace, and the memory it has given out.
// It knows no Node-API; addon.cc wraps it.
#pragma once
#include <map>
#include <string>

#include "cublas/device.h"
#include "cublas/gemm.h"

namespace gradline::cublas {

class Session {
 public:
  Session(int device, size_t workspaceBytes);
  ~Session() { close(); }
  Session(const Session &) = delete;
  Session &operator=(const Session &) = delete;

  // Makes the context current on this thread, and the queue to call on; throws when closed.
  Queue &queue();
  void *alloc(size_t bytes);
  void free(void *address);  // of alloc; what is gone already is left alone
  void write(void *to, const void *from, size_t bytes);
  void read(void *to, const void *from, size_t bytes);  // behind the work that was queued
  void synchronize();
  void close();  // waits, then frees everything given out

  std::string device;
  int capability = 0;  // 90 for 9.0
  size_t bytes = 0;    // given out and not freed

 private:
  void makeCurrent() const;
  int ordinal_;
  Context context_ = nullptr;
  Stream stream_ = nullptr;
  Queue *queue_ = nullptr;
  void *workspace_ = nullptr;
  std::map<void *, size_t> memory_;
};

}  // namespace gradline::cublas
