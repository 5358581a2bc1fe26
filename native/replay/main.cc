// Runs recorded programs without Node: `replay PACK` compares a backend with ref step by step, `--count` runs the steps
// alone, for callgrind and for counting, `--damage` runs broken programs. What a pack is stands in pack.h, who calls
// this in scripts/check-native.mjs and bench/gates.ts.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <optional>

#include "../core/machine.h"
#include "../ref/table.h"
#include "compare.h"
#include "damage.h"
#include "heap.h"
#include "loaded.h"
#include "marks.h"
#include "probe.h"

namespace {

using namespace gradline;
using namespace gradline::replay;

constexpr const char *kUsage =
    "replay PACK [options]\n"
    "  --backend NAME      cpu (default), ref, or the path of a library that exports gradline_backend\n"
    "  --isa A,B           instruction sets of cpu; default: all of this machine\n"
    "  --threads 1,2       numbers of threads; default 1,2,3. The bits must not depend on them\n"
    "  --only TEXT         cases whose name contains it\n"
    "  --count             no comparison: the steps of the case inside gradline_replay_step, and what they cost\n"
    "  --damage SECONDS    damaged programs instead, each refused or run\n"
    "  --seed N            of the damage\n"
    "  --about             compiler and instruction sets, as JSON\n";

#if defined(__clang__)
constexpr const char *kCompiler = "clang " __clang_version__;
#else
constexpr const char *kCompiler = "g++ " __VERSION__;
#endif

struct Options {
  std::string pack, backend = "cpu", only;
  std::vector<std::string> isas;
  std::vector<int> threads;
  double damage = 0;
  uint64_t seed = 1;
  bool count = false, about = false;
};

std::vector<std::string> split(const std::string &text) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

Options parse(int argc, char **argv) {
  Options options;
  const auto reject = [](const std::string &what) { throw Error(ErrorCode::argument, what + "\n" + kUsage); };
  for (int i = 1; i < argc; i++) {
    const std::string name = argv[i];
    const auto value = [&]() -> std::string {
      if (i + 1 >= argc) reject(name + " needs a value");
      return argv[++i];
    };
    if (name == "--backend")
      options.backend = value();
    else if (name == "--isa")
      options.isas = split(value());
    else if (name == "--threads")
      for (const auto &each : split(value())) options.threads.push_back(std::atoi(each.c_str()));
    else if (name == "--only")
      options.only = value();
    else if (name == "--damage")
      options.damage = std::atof(value().c_str());
    else if (name == "--seed")
      options.seed = std::strtoull(value().c_str(), nullptr, 10);
    else if (name == "--count")
      options.count = true;
    else if (name == "--about")
      options.about = true;
    else if (name.rfind("--", 0) == 0 || !options.pack.empty())
      reject("unknown argument " + name);
    else
      options.pack = name;
  }
  if (options.pack.empty() && !options.about) reject("no pack was named");
  if (options.backend != "cpu") {
    options.isas = {""};
    if (options.threads.empty()) options.threads = {0};
  }
  if (options.isas.empty()) options.isas = readMachine().isas;
  if (options.threads.empty()) options.threads = options.count ? std::vector<int>{1} : std::vector<int>{1, 2, 3};
  return options;
}

void printAbout() {
  std::string isas;
  for (const std::string &isa : readMachine().isas) isas += (isas.empty() ? "\"" : ", \"") + isa + "\"";
  std::printf("{\"compiler\": \"%s\", \"isas\": [%s], \"countsAllocations\": %s}\n", kCompiler, isas.c_str(),
              countsAllocations() ? "true" : "false");
}

// Closes a device when its user is done with it; whoever opened one has to.
class Opened {
 public:
  Opened(const Backend &backend, int threads, const std::string &isa) {
    DeviceOptions options{};
    options.threads = threads;
    device_ = Device::open(backend, options, isa);
  }
  ~Opened() { device_->close(); }
  Opened(const Opened &) = delete;
  const std::shared_ptr<Device> &operator*() const { return device_; }

 private:
  std::shared_ptr<Device> device_;
};

// All devices of a comparison, open at once, as in a process that uses several.
class Devices {
 public:
  Devices(const Options &options, const Backend &backend) : ref(ref::backend, 1, "") {
    for (const auto &isa : options.isas) {
      for (int threads : options.threads) opened_.try_emplace({isa, threads}, backend, threads, isa);
    }
  }
  const std::shared_ptr<Device> &at(const std::string &isa, int threads) const { return *opened_.at({isa, threads}); }

  const Opened ref;

 private:
  std::map<std::pair<std::string, int>, Opened> opened_;
};

std::string nameOfRegion(const Case &item, uint32_t region) {
  const Image image = decode(item.program.data(), item.program.size());
  return std::string(nameOf(static_cast<RegionKind>(image.regions[region].kind))) + " (region " +
         std::to_string(region) + ") ";
}

// Steps one by one beside ref, which begins each step where the backend ended the last one, so that errors do not pile
// up. Returns everything that is left in the end.
std::vector<std::vector<uint8_t>> verify(const Devices &devices, const std::shared_ptr<Device> &device,
                                         const Case &item, double &share) {
  Loaded tested(device, item), ref(*devices.ref, item);
  for (uint32_t step = 1; step <= item.steps; step++) {
    if (step > 1) ref.follow(tested);
    tested.run(1);
    ref.run(1);
    for (const Check &check : item.checks) {
      const auto distance =
          compare(check, nameOfRegion(item, check.region), tested.range(check).data(), ref.range(check).data());
      share = std::max(share, distance.share);
      if (distance.share > 1) {
        throw Error(ErrorCode::fault,
                    "step " + std::to_string(step) + ", byte " + std::to_string(check.offset) + " of " + distance.text);
      }
    }
  }
  std::vector<std::vector<uint8_t>> left;
  for (uint32_t i = 0; i < item.contents.size(); i++) left.push_back(tested.content(i));
  return left;
}

void verifyEverywhere(const Options &options, const Devices &devices, const Case &item) {
  double share = 0;
  for (const auto &isa : options.isas) {
    std::vector<std::vector<uint8_t>> first;
    for (int threads : options.threads) {
      const auto &device = devices.at(isa, threads);
      try {
        if (first.empty()) {
          first = verify(devices, device, item, share);
          continue;
        }
        Loaded again(device, item);
        again.run(item.steps);
        for (uint32_t i = 0; i < first.size(); i++) {
          if (again.content(i) == first[i]) continue;
          throw Error(ErrorCode::fault, nameOfRegion(item, i) + "has other bits than with " +
                                            std::to_string(options.threads[0]) + " threads");
        }
      } catch (Error &error) {
        error.text = device->describe() + ": " + error.text;
        throw;
      }
    }
  }
  std::printf("ok      %-64s %5.1f %% of the allowed error\n", item.name.c_str(), 100 * share);
}

// One line of JSON per case and device: what a step costs apart from time. Each device is opened for one case, so that
// no other still tidies up meanwhile.
void countEverywhere(const Options &options, const Backend &backend, const Case &item) {
  for (const auto &isa : options.isas) {
    for (int threads : options.threads) {
      const Opened device(backend, threads, isa);
      Loaded loaded(*device, item);
      resetCounts();
      loaded.run(item.steps);
      const Counts seen = counts();
      const auto perStep = [&](uint64_t count) { return static_cast<double>(count) / static_cast<double>(seen.steps); };
      std::printf(
          "{\"name\": \"%s\", \"isa\": \"%s\", \"threads\": %d, \"steps\": %llu, \"allocations\": %llu, "
          "\"read\": %.17g, \"written\": %llu}\n",
          item.name.c_str(), isa.c_str(), threads, static_cast<unsigned long long>(seen.steps),
          static_cast<unsigned long long>(seen.allocations), perStep(seen.read),
          static_cast<unsigned long long>(seen.written));
      gradline_replay_case_done();
    }
  }
}

int replayAll(const Options &options) {
  const std::vector<Case> cases = readPack(options.pack);
  const Backend &backend = probed(options.backend);
  std::optional<Devices> devices;
  if (!options.count) devices.emplace(options, backend);
  int failed = 0, done = 0;
  for (const Case &item : cases) {
    if (item.name.find(options.only) == std::string::npos) continue;
    done++;
    try {
      if (options.count) {
        countEverywhere(options, backend, item);
      } else if (options.damage > 0) {
        const auto &device = devices->at(options.isas[0], options.threads.back());
        damage(device, item, options.seed, options.damage / static_cast<double>(cases.size()));
      } else {
        verifyEverywhere(options, *devices, item);
      }
    } catch (const Error &error) {
      failed++;
      std::printf("FAILED  %s: %s\n", item.name.c_str(), error.what());
    }
    std::fflush(stdout);
  }
  if (!options.count) std::printf("%d cases, %d failed\n", done, failed);
  return failed > 0 || done == 0;
}

}  // namespace

int main(int argc, char **argv) {
  try {
    const Options options = parse(argc, argv);
    if (options.about) return printAbout(), 0;
    return replayAll(options);
  } catch (const std::exception &error) {
    std::fprintf(stderr, "replay: %s\n", error.what());
    return 2;
  }
}
