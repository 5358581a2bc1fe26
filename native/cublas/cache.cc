// Measured algorithms: a map from the key of a plan to the library's opaque blob, kept in a file of JSON lines where
// one is set. The file is read when it is set and before it is written; writing goes to a new file that takes the place
// of the old one, so that two processes never leave half a file. A line that cannot be read, or whose check does not
// fit, is dropped and told of; a file with no other lines is somebody else's and is never written.
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>

#include "cublas/gemm.h"

namespace gradline::cublas {
namespace {

struct Entry {
  Algo algo;
  double seconds;
};

std::mutex mutex;
std::map<std::string, Entry> known;
std::string file;

std::string hex(const Algo &algo) {
  std::string text;
  char word[17];
  for (uint64_t part : algo.data) {
    std::snprintf(word, sizeof word, "%016llx", static_cast<unsigned long long>(part));
    text += word;
  }
  return text;
}

bool parseHex(const std::string &text, Algo &algo) {
  if (text.size() != 128 || text.find_first_not_of("0123456789abcdef") != std::string::npos) return false;
  for (int i = 0; i < 8; i++) algo.data[i] = std::stoull(text.substr(16 * i, 16), nullptr, 16);
  return true;
}

// Keys are made of names and numbers; what JSON would have to escape becomes a blank.
std::string plain(std::string key) {
  for (char &c : key) {
    if (c == '"' || c == '\\' || static_cast<unsigned char>(c) < ' ') c = ' ';
  }
  return key;
}

// FNV-1a (Fowler, Noll, Vo 1991) of what must not have changed: a damaged algorithm may be another valid one.
std::string checkOf(const std::string &key, const std::string &algorithm) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : key + "\n" + algorithm) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  char word[17];
  std::snprintf(word, sizeof word, "%016llx", static_cast<unsigned long long>(hash));
  return word;
}

std::string field(const std::string &line, const char *name) {
  const std::string opening = std::string("\"") + name + "\":\"";
  const size_t start = line.find(opening);
  if (start == std::string::npos) return "";
  const size_t from = start + opening.size(), to = line.find('"', from);
  return to == std::string::npos ? "" : line.substr(from, to - from);
}

// What this process has measured stays: it is newer. Counts lines that are ours and lines that are not.
struct Lines {
  int good = 0, bad = 0;
};
Lines read() {
  Lines lines;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (line.empty()) continue;
    Entry entry{};
    const std::string key = field(line, "key"), algorithm = field(line, "algorithm");
    if (key.empty() || !parseHex(algorithm, entry.algo) || field(line, "check") != checkOf(key, algorithm)) {
      lines.bad++;
      continue;
    }
    lines.good++;
    const size_t seconds = line.find("\"seconds\":");
    if (seconds != std::string::npos) entry.seconds = std::strtod(line.c_str() + seconds + 10, nullptr);
    known.emplace(key, entry);
  }
  return lines;
}

void write() {
  const std::string fresh = file + "." + std::to_string(getpid()) + ".new";
  {
    std::ofstream out(fresh, std::ios::trunc);
    for (const auto &[key, entry] : known) {
      char seconds[32];
      std::snprintf(seconds, sizeof seconds, "%.9g", entry.seconds);
      const std::string algorithm = hex(entry.algo);
      out << "{\"key\":\"" << key << "\",\"algorithm\":\"" << algorithm << "\",\"seconds\":" << seconds
          << ",\"check\":\"" << checkOf(key, algorithm) << "\"}\n";
    }
    out.flush();
    if (!out) {
      std::remove(fresh.c_str());
      throw Failure(kInternalError, "cannot write " + fresh);
    }
  }
  if (std::rename(fresh.c_str(), file.c_str()) != 0) {
    const std::string reason = std::strerror(errno);
    std::remove(fresh.c_str());
    throw Failure(kInternalError, "cannot replace " + file + ": " + reason);
  }
}

}  // namespace

std::string setCacheFile(const std::string &path) {
  std::lock_guard<std::mutex> lock(mutex);
  file = path;
  known.clear();
  if (file.empty()) return "";
  const Lines lines = read();
  if (lines.bad == 0) return "";
  if (lines.good == 0) {
    file.clear();
    return path + " is no file of measured plans; it is ignored and left alone";
  }
  return path + ": " + std::to_string(lines.bad) + " of " + std::to_string(lines.good + lines.bad) +
         " lines are damaged and ignored";
}

bool findMeasured(const std::string &key, Algo &algo) {
  std::lock_guard<std::mutex> lock(mutex);
  const auto found = known.find(plain(key));
  if (found == known.end()) return false;
  algo = found->second.algo;
  return true;
}

void keepMeasured(const std::string &key, const Algo &algo, double seconds) {
  std::lock_guard<std::mutex> lock(mutex);
  known[plain(key)] = {algo, seconds};
  if (file.empty()) return;
  read();
  write();
}

}  // namespace gradline::cublas
