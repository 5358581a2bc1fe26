// Walking a flat parameter region by its segment table, which is sorted and without overlap. A block takes a stretch of
// the region and looks up once which segment it begins in; what no segment covers is left alone.
#pragma once
#include "../gpu.h"
#include "kernels.h"

namespace gradline::cuda {

constexpr int kElementsPerThread = 4;

struct Segments {
  Global<const SegmentRecord> record;
  int count, n;  // segments; elements of the region

  // Calls visit(i, segment) for each element of this block that a segment covers. All threads of the block must come.
  template <int kThreads, class Visit>
  GPU_DEVICE void eachElement(Visit visit) const {
    GPU_SHARED(int, firstSegment, 1);
    const int begin = block() * kThreads * kElementsPerThread;
    if (thread() == 0) {
      int low = 0, high = count;  // the first segment that ends behind `begin`
      while (low < high) {
        const int middle = (low + high) / 2;
        const SegmentRecord segment = record[middle];
        if (segment.offset + segment.count > begin)
          high = middle;
        else
          low = middle + 1;
      }
      firstSegment[0] = low;
    }
    barrier();
    int s = firstSegment[0];
    if (s >= count) return;
    SegmentRecord segment = record[s];
    for (int k = 0; k < kElementsPerThread; k++) {
      const int i = begin + k * kThreads + thread();
      if (i >= n) return;
      while (i >= segment.offset + segment.count) {
        if (++s >= count) return;
        segment = record[s];
      }
      if (i >= segment.offset) visit(i, segment);
    }
  }
};

inline Segments segmentsOf(const Op &op, const Launches &launches) {
  const size_t bytes = static_cast<size_t>(op.segmentCount) * sizeof(SegmentRecord);
  return {global<const SegmentRecord>(launches.segments, bytes), op.segmentCount, static_cast<int>(op.in[0].size)};
}

template <class Kernel>
Grid segmentGrid(int64_t elements) {
  return {ceilDiv(elements, Kernel::kThreads * kElementsPerThread)};
}

}  // namespace gradline::cuda
