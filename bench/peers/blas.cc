// A peer for matrix products: one BLAS-like library, opened by name, answers questions of one JSON line each on stdin
// with one line on stdout. Compiled on demand by bench/peers/find.ts; the prototypes are our own, so that no header is
// needed. It is no general reader of JSON: it looks up the few keys it needs in the flat text of the question.

#include <dlfcn.h>
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

struct Product {
  long m, k, n;
  bool transposeA, transposeB;
};

double now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

void *library = nullptr;

template <typename Function>
Function symbol(const char *name) {
  return reinterpret_cast<Function>(dlsym(library, name));
}

// Enumerators of CBLAS (1997): row-major order, as it lies, transposed.
constexpr int kRowMajor = 101, kNoTrans = 111, kTrans = 112;
using CblasSgemm = void (*)(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *,
                            int);
// Row-major, sizes of 64 bits.
using DnnlSgemm = int (*)(char, char, long, long, long, float, const float *, long, const float *, long, float, float *,
                          long);
using SetThreads = void (*)(int);
using SetThreadsLong = void (*)(long);

CblasSgemm cblas = nullptr;
DnnlSgemm dnnl = nullptr;

void multiply(const Product &p, const float *a, const float *b, float *c) {
  const long lda = p.transposeA ? p.m : p.k, ldb = p.transposeB ? p.k : p.n;
  if (dnnl) {
    dnnl(p.transposeA ? 'T' : 'N', p.transposeB ? 'T' : 'N', p.m, p.n, p.k, 1, a, lda, b, ldb, 0, c, p.n);
  } else {
    cblas(kRowMajor, p.transposeA ? kTrans : kNoTrans, p.transposeB ? kTrans : kNoTrans, static_cast<int>(p.m),
          static_cast<int>(p.n), static_cast<int>(p.k), 1, a, static_cast<int>(lda), b, static_cast<int>(ldb), 0, c,
          static_cast<int>(p.n));
  }
}

void setThreads(int threads) {
  if (auto set = symbol<SetThreads>("openblas_set_num_threads")) set(threads);
  if (auto set = symbol<SetThreadsLong>("bli_thread_set_num_threads")) set(threads);
  // oneDNN takes its threads from the OpenMP runtime it was linked with.
  if (auto set = symbol<SetThreads>("omp_set_num_threads"); set && dnnl) set(threads);
}

std::string version() {
  if (auto config = symbol<const char *(*)()>("openblas_get_config")) {
    const std::string text = config();
    return text.substr(0, text.find(' ', text.find(' ') + 1));
  }
  if (auto blis = symbol<const char *(*)()>("bli_info_get_version_str")) {
    return std::string("BLIS ") + blis();
  }
  struct Version {
    int major, minor, patch;
  };
  if (auto read = symbol<const Version *(*)()>("dnnl_version")) {
    const Version &found = *read();
    return "oneDNN " + std::to_string(found.major) + "." + std::to_string(found.minor) + "." +
           std::to_string(found.patch);
  }
  return "unknown";
}

const char *after(const char *line, const char *key) {
  const std::string quoted = std::string("\"") + key + "\":";
  const char *found = std::strstr(line, quoted.c_str());
  return found ? found + quoted.size() : "";
}

/** The same numbers as pattern() of bench/peers/task.ts. */
std::vector<float> pattern(long size) {
  std::vector<float> values(static_cast<size_t>(size));
  for (long i = 0; i < size; i++) {
    values[static_cast<size_t>(i)] = static_cast<float>((i * 7919 % 1009) / 1008.0 - 0.5);
  }
  return values;
}

Product current{0, 0, 0, false, false};
std::vector<float> a, b, c;
/** So many took long enough the last time. */
long iterations = 1;

void open(const Product &p) {
  if (std::memcmp(&p, &current, sizeof p) == 0) return;
  current = p;
  iterations = 1;
  a = pattern(p.m * p.k);
  b = pattern(p.k * p.n);
  c.assign(static_cast<size_t>(p.m * p.n), 0);
}

double run(long times) {
  const double began = now();
  for (long i = 0; i < times; i++) multiply(current, a.data(), b.data(), c.data());
  return now() - began;
}

void answer(const char *line) {
  if (std::strncmp(after(line, "kind"), "\"matmul\"", 8) != 0) {
    std::puts("{\"unsupported\":\"only matrix products\"}");
    return;
  }
  const char *form = after(line, "form");
  Product p;
  std::memset(&p, 0, sizeof p);  // padding too: products are compared by their bytes
  p.m = std::atol(after(line, "m"));
  p.k = std::atol(after(line, "k"));
  p.n = std::atol(after(line, "n"));
  p.transposeA = form[1] == 'T';
  p.transposeB = form[2] == 'T';
  setThreads(std::atoi(after(line, "threads")));
  open(p);
  const char *ask = after(line, "ask");
  if (std::strncmp(ask, "\"modes\"", 7) == 0) {
    std::puts("{\"modes\":[\"\"]}");
  } else if (std::strncmp(ask, "\"check\"", 7) == 0) {
    run(1);
    std::printf("{\"values\":[");
    for (size_t i = 0; i < c.size(); i++) std::printf("%s%.9g", i ? "," : "", static_cast<double>(c[i]));
    std::puts("]}");
  } else {
    const double wanted = std::atof(after(line, "seconds"));
    double took = 0;
    // What calibrates warms up as well; a run that is long enough is the answer.
    while ((took = run(iterations)) < wanted) {
      const double grow = 1.1 * wanted / took;
      iterations = static_cast<long>(static_cast<double>(iterations) * (grow > 10 ? 10 : grow)) + 1;
    }
    std::printf("{\"iterations\":%ld,\"seconds\":%.9g}\n", iterations, took);
  }
}

}  // namespace

int main(int count, char **names) {
  for (int i = 1; i < count && !library; i++) library = dlopen(names[i], RTLD_NOW | RTLD_GLOBAL);
  if (!library) {
    std::puts("{\"missing\":true}");
    return 0;
  }
  dnnl = symbol<DnnlSgemm>("dnnl_sgemm");
  cblas = symbol<CblasSgemm>("cblas_sgemm");
  if (!dnnl && !cblas) {
    std::puts("{\"missing\":true}");
    return 0;
  }
  std::printf("{\"version\":\"%s\"}\n", version().c_str());
  std::fflush(stdout);
  std::string line;
  for (int next; (next = std::getchar()) != EOF;) {
    if (next != '\n') {
      line += static_cast<char>(next);
      continue;
    }
    answer(line.c_str());
    std::fflush(stdout);
    line.clear();
  }
}
