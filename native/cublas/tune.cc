// Measures the algorithms of a plan on the device and takes the fastest of those that compute what the fallback
// computed. It waits for the device and allocates, so it is for the time when a program is compiled.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "cublas/device.h"
#include "cublas/gemm.h"

namespace gradline::cublas {
namespace {

constexpr int kWarmRuns = 3;

float largestFinite(const std::vector<float> &values) {
  float most = 0;
  for (float value : values) {
    if (std::isfinite(value)) most = std::max(most, std::fabs(value));
  }
  return most;
}

// NaN is equal to NaN alone: an algorithm that hides one is wrong.
bool agree(float got, float wanted, float tolerance) {
  if (std::isnan(wanted)) return std::isnan(got);
  return got == wanted || std::fabs(got - wanted) <= tolerance;
}

bool agree(const std::vector<float> &got, const std::vector<float> &wanted, float tolerance) {
  for (size_t i = 0; i < wanted.size(); i++) {
    if (!agree(got[i], wanted[i], tolerance)) return false;
  }
  return true;
}

// Only what belongs to the matrices, not the gaps between rows and between matrices.
bool agree(const std::vector<float> &got, const std::vector<float> &wanted, const GlGemm &g, float tolerance) {
  for (int64_t matrix = 0; matrix < g.batch; matrix++) {
    for (int64_t row = 0; row < g.m; row++) {
      const int64_t start = matrix * g.strideC + row * g.ldc;
      for (int64_t i = start; i < start + g.n; i++) {
        if (!agree(got[i], wanted[i], tolerance)) return false;
      }
    }
  }
  return true;
}

std::vector<float> fetch(const void *from, size_t elements) {
  std::vector<float> values(elements);
  copyToHost(values.data(), from, elements * sizeof(float));
  return values;
}

}  // namespace

Plan *tune(Queue &queue, const Product &product, const GlPlanOptions &options, const GlOperands &operands,
           const GlTune &how) {
  const GlGemm &g = product.g;
  if (product.typeC != kReal32F) throw Failure(kNotSupported, "tuning is for products that give float32");
  if (!how.expectedC) throw Failure(kInvalidValue, "tuning needs the result of the fallback to compare with");
  if (!(how.tolerance >= 0)) throw Failure(kInvalidValue, "expected tolerance to be at least 0");
  if (how.candidates < 0 || how.repetitions < 0) throw Failure(kInvalidValue, "expected counts that are at least 0");
  const Driver &driver = loadedWithDriver().driver;
  GlPlanOptions first = options;
  first.algorithm = 0;
  auto plan = std::make_unique<Plan>(queue, product, first);

  // Results go to memory of our own, so that what the caller has stays, whatever a candidate does.
  const auto elements = static_cast<size_t>(spanOf(g.m, g.n, g.ldc, g.strideC, g.batch));
  const EpilogueKind &kind = plan->epilogue;
  const size_t vectorElements = kind.vectorOutput ? static_cast<size_t>(kind.vector == 'm' ? g.m : g.n) : 0;
  const size_t bytes = elements * sizeof(float);
  DeviceMemory result(bytes), vector(vectorElements * sizeof(float));
  GlOperands own = operands;
  own.c = result.address();
  if (vectorElements) own.vector = vector.address();
  const auto wanted = fetch(how.expectedC, elements);
  const auto wantedVector =
      vectorElements && how.expectedVector ? fetch(how.expectedVector, vectorElements) : std::vector<float>();
  const float tolerance = how.tolerance * largestFinite(wanted),
              vectorTolerance = how.tolerance * largestFinite(wantedVector);

  const EventPair clock;
  const int repetitions = how.repetitions ? how.repetitions : 10;
  double best = std::numeric_limits<double>::infinity();
  size_t winner = 0;
  const auto candidates = plan->candidates();
  const size_t count = how.candidates ? std::min<size_t>(how.candidates, candidates.size()) : candidates.size();
  std::string refused;
  for (size_t i = 0; i < count; i++) {
    plan->use(candidates[i], true);
    try {
      // What beta multiplies comes back each time; where nothing does, NaN shows what was not written.
      if (product.beta != 0) {
        copyOnDevice(result.address(), operands.c, bytes);
      } else {
        fill(result.address(), 0xff, bytes);
      }
      plan->run(own);
      checkDriver(driver.streamWait(queue.stream), "cuStreamSynchronize");
      const bool right =
          agree(fetch(own.c, elements), wanted, g, tolerance) &&
          (wantedVector.empty() || agree(fetch(own.vector, vectorElements), wantedVector, vectorTolerance));
      if (!right) {
        refused += "; " + std::to_string(i) + " differs from the fallback";
        continue;
      }
      for (int run = 0; run < kWarmRuns; run++) plan->run(own);
      double seconds = std::numeric_limits<double>::infinity();
      for (int run = 0; run < repetitions; run++) {
        seconds = std::min(seconds, clock.seconds(queue.stream, [&] { plan->run(own); }));
      }
      if (seconds < best) best = seconds, winner = i;
    } catch (const DriverFailure &) {
      throw;  // work may still be under way, and would be taken for that of the next candidate
    } catch (const Failure &failure) {
      refused += "; " + std::to_string(i) + ": " + failure.what();
    }
  }
  if (!(best < std::numeric_limits<double>::infinity())) {
    throw Failure(kNotSupported, "no algorithm of cuBLASLt is right for " + plan->key() + refused);
  }
  plan->use(candidates[winner], true);
  keepMeasured(plan->key(), candidates[winner].algo, best);
  return plan.release();
}

}  // namespace gradline::cublas
