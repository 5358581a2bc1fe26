// The product of cublasLtMatmul with every epilogue, by column as the original is, in double precision.
#include <cmath>
#include <cstring>

#include "lt.h"

namespace standin {
namespace {

double geluOf(double x) { return 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))); }
double geluSlope(double x) {
  const double t = std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * 0.7978845608028654 * (1 + 3 * 0.044715 * x * x);
}

Matrix view(const void *base, const Layout &l, int batch) {
  char *at = static_cast<char *>(const_cast<void *>(base)) + batch * l.stride * static_cast<int64_t>(sizeOf(l.type));
  return {at, l.type, static_cast<int64_t>(l.rows), static_cast<int64_t>(l.columns), l.ld};
}

// One number for each row of D, or for BGRADB each column.
Matrix vectorOf(const Call &call) {
  const auto length = static_cast<int64_t>(call.desc.epilogue == 512 ? call.layoutD.columns : call.layoutD.rows);
  return {call.desc.bias, call.layoutD.type, length, 1, length};
}
Matrix geluInput(const Call &call) {
  const Layout &l = call.layoutD;
  return {call.desc.aux, l.type, static_cast<int64_t>(l.rows), static_cast<int64_t>(l.columns), call.desc.auxLd};
}

// An operand as tensor cores take it: 77 rounds to 11 significant bits with ties away from zero, 75 to 8 with ties to
// even.
double rounded(double x, int compute) {
  if ((compute != 77 && compute != 75) || !std::isfinite(x)) return x;
  int exponent = 0;
  const double fraction = std::frexp(x, &exponent);
  if (compute == 77) return std::ldexp(std::round(std::ldexp(fraction, 11)), exponent - 11);
  return std::ldexp(std::nearbyint(std::ldexp(fraction, 8)), exponent - 8);
}

}  // namespace

bool areInside(const Call &call) {
  const Desc &d = call.desc;
  const Layout &l = call.layoutD;
  if (call.workspaceBytes && !inside("the workspace", call.workspace, call.workspaceBytes)) return false;
  const Matrix vector = vectorOf(call);
  if (hasVector(d) && !checkMatrix("the bias", vector, vector.rows, 1)) return false;
  const auto columns = static_cast<size_t>(l.columns), ld = static_cast<size_t>(d.auxLd);
  const size_t auxBytes = isMask(d) ? columns * ld / 8 : sizeOf(l.type) * ((columns - 1) * ld + l.rows);
  if (hasAux(d) && !inside("aux", d.aux, auxBytes)) return false;
  for (int batch = 0; batch < l.batch; batch++) {
    const Matrix A = view(call.a, call.layoutA, batch), B = view(call.b, call.layoutB, batch);
    const Matrix C = view(call.c, call.layoutC, batch), D = view(call.d, l, batch);
    if (!checkMatrix("A", A, A.rows, A.columns) || !checkMatrix("B", B, B.rows, B.columns) ||
        !checkMatrix("C", C, D.rows, D.columns) || !checkMatrix("D", D, D.rows, D.columns)) {
      return false;
    }
  }
  return true;
}

void perform(const Call &call) {
  if (!areInside(call)) return;  // noted; memory may have gone since the call
  const Desc &d = call.desc;
  const Layout &ld = call.layoutD;
  const Offer &offer = call.offer;
  if (offer.workspace) std::memset(call.workspace, 0x7f, offer.workspace);
  const auto m = static_cast<int64_t>(ld.rows), n = static_cast<int64_t>(ld.columns);
  const auto k = static_cast<int64_t>(d.transA ? call.layoutA.rows : call.layoutA.columns);
  const uint32_t e = d.epilogue;
  const Matrix vector = vectorOf(call), gelu = geluInput(call);
  const auto maskAt = [&](int64_t i, int64_t j) {
    const int64_t bit = j * d.auxLd + i;
    return std::pair(static_cast<uint8_t *>(d.aux) + bit / 8, static_cast<uint8_t>(1u << bit % 8));
  };
  for (int batch = 0; batch < ld.batch; batch++) {
    const Matrix A = view(call.a, call.layoutA, batch), B = view(call.b, call.layoutB, batch);
    const Matrix C = view(call.c, call.layoutC, batch), D = view(call.d, ld, batch);
    // What comes of numbers that nobody wrote is as undefined as they are.
    const bool defined = isDefined(A) && isDefined(B) && (call.beta == 0 || isDefined(C)) &&
                         (!(e & 4) || isDefined(vector)) && offer.kind != Kind::lazy;
    const auto left = [&](int64_t i, int64_t p) { return d.transA ? get(A, p, i) : get(A, i, p); };
    const auto right = [&](int64_t p, int64_t j) { return d.transB ? get(B, j, p) : get(B, p, j); };
    std::vector<double> sums(static_cast<size_t>(vector.rows));
    if (e == 256) {
      for (int64_t i = 0; i < m; i++)
        for (int64_t p = 0; p < k; p++) sums[i] += left(i, p);
    } else if (e == 512) {
      for (int64_t j = 0; j < n; j++)
        for (int64_t p = 0; p < k; p++) sums[j] += right(p, j);
    }
    for (int64_t j = 0; j < n; j++) {
      for (int64_t i = 0; i < m; i++) {
        if (offer.kind == Kind::lazy && i == m - 1 && j == n - 1) continue;
        double x = 0;
        for (int64_t p = 0; p < k; p++) x += rounded(left(i, p), d.compute) * rounded(right(p, j), d.compute);
        x = call.alpha * x + (call.beta != 0 ? call.beta * get(C, i, j) : 0);
        if (e & 4) x += get(vector, i, 0);
        if (e & 8) {
          const auto [byte, bit] = maskAt(i, j);
          if (!(*byte & bit)) x = 0;
        } else if (e & 64) {
          x *= geluSlope(get(gelu, i, j));
        } else if (e & 32) {
          if (e & 128) put(gelu, i, j, x);
          x = geluOf(x);
        } else if (e & 2) {
          if (e & 128) {
            const auto [byte, bit] = maskAt(i, j);
            *byte = static_cast<uint8_t>(x > 0 ? *byte | bit : *byte & ~bit);
          }
          x = x > 0 ? x : 0;
        }
        if (e & 16) sums[i] += x;
        put(D, i, j, offer.kind == Kind::wrong && i == 0 && j == 0 ? x + 1 : x);
      }
    }
    if (e & (16 | 256 | 512)) {
      for (int64_t i = 0; i < vector.rows; i++) put(vector, i, 0, sums[i]);
      if (defined) define(vector);
    }
    if (defined) define(D);
  }
  state().clock += offer.seconds;
}

}  // namespace standin
