// The little that is needed of the driver on the current context: memory that frees itself, copies, a clock of the
// device. No allocator: each piece is one call of the driver.
#pragma once
#include "cublas/library.h"

namespace gradline::cublas {

inline Address addressOf(const void *pointer) { return reinterpret_cast<Address>(pointer); }

void copyToHost(void *to, const void *from, size_t bytes);
void copyOnDevice(void *to, const void *from, size_t bytes);  // by way of the host; for tuning only
void fill(void *to, unsigned char value, size_t bytes);

class DeviceMemory {
 public:
  explicit DeviceMemory(size_t bytes);  // 0: no memory
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory &) = delete;
  DeviceMemory &operator=(const DeviceMemory &) = delete;
  void *address() const { return reinterpret_cast<void *>(address_); }

 private:
  Address address_ = 0;
};

class EventPair {
 public:
  EventPair();
  ~EventPair();
  EventPair(const EventPair &) = delete;
  EventPair &operator=(const EventPair &) = delete;

  // Time on the device from before to behind the work that `body` puts on the stream; waits for it.
  template <class Body>
  double seconds(Stream stream, Body body) const {
    begin(stream);
    body();
    return end(stream);
  }

 private:
  void begin(Stream stream) const;
  double end(Stream stream) const;
  Event start_ = nullptr, stop_ = nullptr;
};

}  // namespace gradline::cublas
