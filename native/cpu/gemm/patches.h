// Patches of images as the left side of a matrix product: the tile kernel reads them through row offsets, so no matrix
// of patches is ever built. Where a patch can reach over the border, a unit first copies its part of the image with
// zeros around it (a "slab"). Which sums are made of them stands in kernels/conv.h.
#pragma once
#include "tile.h"

namespace gradline::cpu::GL_ISA {

// One axis of a convolution: place i of the grid reads source places first + i * step + t * tapStep, 0 <= t < taps.
struct Axis {
  int64_t grid, source, taps, step, tapStep, first;

  GL_INLINE int64_t span(int64_t places) const {  // of source places read by so many places of the grid
    return taps > 0 && places > 0 ? (places - 1) * step + (taps - 1) * tapStep + 1 : 0;
  }
  GL_INLINE bool leavesSource() const { return first < 0 || first + span(grid) > source; }
};

// A convolution as seen by the reader of patches. A block is what one unit handles: a few images, rows and columns of
// the grid, near kBlockPlaces places.
struct Patches {
  Axis y, x;
  int64_t images, channels, groupChannels;
  bool slab;
  int64_t blockImages, blockRows, blockCols;  // the last block of an axis may be shorter
  int64_t imageBlocks, rowBlocks, colBlocks;

  GL_INLINE int64_t blocks() const { return imageBlocks * rowBlocks * colBlocks; }
  GL_INLINE int64_t blockPlaces() const { return blockImages * blockRows * blockCols; }
  GL_INLINE int64_t depth() const { return y.taps * x.taps * groupChannels; }
  GL_INLINE int64_t slabSize() const {
    return slab ? blockImages * y.span(blockRows) * x.span(blockCols) * channels : 0;
  }
};

GL_SIMD int64_t evenBlock(int64_t n, int64_t most) { return ceilDiv(n, ceilDiv(n, most)); }

GL_SIMD void cutBlocks(Patches &p, int64_t places) {
  p.slab = p.y.leavesSource() || p.x.leavesSource();
  p.blockCols = p.x.grid <= 2 * places ? p.x.grid : evenBlock(p.x.grid, places);
  p.blockRows = evenBlock(p.y.grid, larger(1, places / p.blockCols));
  const bool whole = p.blockCols == p.x.grid && p.blockRows == p.y.grid;
  p.blockImages = whole ? evenBlock(p.images, larger(1, places / (p.blockCols * p.blockRows))) : 1;
  p.imageBlocks = ceilDiv(p.images, p.blockImages);
  p.rowBlocks = ceilDiv(p.y.grid, p.blockRows);
  p.colBlocks = ceilDiv(p.x.grid, p.blockCols);
}

// Patches of `source` [n, h, w, c] under a forward convolution to `output` with `filter`.
GL_SIMD Patches forwardPatches(const Op &op, const Tensor &source, const Tensor &filter, const Tensor &output,
                               int64_t places) {
  namespace at = attr::conv2d;
  Patches p;
  p.y = {output.dims[1],        source.dims[1],          filter.dims[0],
         op.iattr(at::strideH), op.iattr(at::dilationH), -op.iattr(at::padTop)};
  p.x = {output.dims[2],        source.dims[2],          filter.dims[1],
         op.iattr(at::strideW), op.iattr(at::dilationW), -op.iattr(at::padLeft)};
  p.images = source.dims[0];
  p.channels = source.dims[3];
  p.groupChannels = filter.dims[2];
  cutBlocks(p, places);
  return p;
}

// One block, ready to be multiplied: where its patches lie and how to walk them.
struct Block {
  const float *base;
  int64_t image, row, col;  // first place of the grid
  int64_t images, rows, cols;
  int64_t imageStride, rowStride, colStride;  // floats between source rows of neighbouring images, rows, places
  GL_INLINE int64_t places() const { return images * rows * cols; }
};

GL_SIMD void copyFloats(float *to, const float *from, int64_t n) {
  eachVec(n, [&](int64_t i, int64_t count) GL_LAMBDA { store(to + i, load(from + i, count), count); });
}
GL_SIMD void zeroFloats(float *to, int64_t n) {
  eachVec(n, [&](int64_t i, int64_t count) GL_LAMBDA { store(to + i, Vec{}, count); });
}

// Rows [y0, y0 + rows) and columns [x0, x0 + cols) of images of `source`, zeros outside, one after the other.
static void fillSlab(const Patches &p, const Block &b, const float *source, float *slab) {
  const int64_t rows = p.y.span(b.rows), cols = p.x.span(b.cols);
  const int64_t y0 = p.y.first + b.row * p.y.step, x0 = p.x.first + b.col * p.x.step;
  const int64_t left = smaller(cols, larger(0, -x0));
  const int64_t inside = larger(0, smaller(cols, p.x.source - x0) - left);
  for (int64_t n = b.image; n < b.image + b.images; n++)
    for (int64_t y = y0; y < y0 + rows; y++, slab += cols * p.channels) {
      if (y < 0 || y >= p.y.source || inside == 0) {
        zeroFloats(slab, cols * p.channels);
        continue;
      }
      zeroFloats(slab, left * p.channels);
      copyFloats(slab + left * p.channels, source + ((n * p.y.source + y) * p.x.source + x0 + left) * p.channels,
                 inside * p.channels);
      zeroFloats(slab + (left + inside) * p.channels, (cols - left - inside) * p.channels);
    }
}

// Which places block `index` has; where its patches lie is not known yet.
GL_SIMD Block blockAt(const Patches &p, int64_t index) {
  Block b = {};
  b.image = index / (p.rowBlocks * p.colBlocks) * p.blockImages;
  b.row = index / p.colBlocks % p.rowBlocks * p.blockRows;
  b.col = index % p.colBlocks * p.blockCols;
  b.images = smaller(p.blockImages, p.images - b.image);
  b.rows = smaller(p.blockRows, p.y.grid - b.row);
  b.cols = smaller(p.blockCols, p.x.grid - b.col);
  return b;
}

GL_SIMD Block openBlock(const Patches &p, int64_t index, const float *source, float *slab) {
  Block b = blockAt(p, index);
  if (p.slab) {
    fillSlab(p, b, source, slab);
    b.base = slab;
    b.rowStride = p.x.span(b.cols) * p.channels;
    b.imageStride = p.y.span(b.rows) * b.rowStride;
  } else {
    b.rowStride = p.x.source * p.channels;
    b.imageStride = p.y.source * b.rowStride;
    b.base = source + b.image * b.imageStride + (p.y.first + b.row * p.y.step) * b.rowStride +
             (p.x.first + b.col * p.x.step) * p.channels;
  }
  b.colStride = p.channels;
  return b;
}

// The walk over the depth of a patch, in the order of w: taps down, taps across, channels of the group.
GL_SIMD Walk patchWalk(const Patches &p, const Block &b) {
  if (p.groupChannels == p.channels && (p.x.tapStep == 1 || p.x.taps == 1))  // taps across lie side by side
    return {{1, p.y.taps, p.x.taps * p.channels}, {0, p.y.tapStep * b.rowStride, 1}};
  return {{p.y.taps, p.x.taps, p.groupChannels}, {p.y.tapStep * b.rowStride, p.x.tapStep * b.colStride, 1}};
}

// Calls visit(place, offset of its patch, image, row, column) for the places of a block in order.
template <class Visit>
GL_SIMD void eachPlace(const Patches &p, const Block &b, Visit visit) {
  int64_t place = 0;
  for (int64_t n = 0; n < b.images; n++)
    for (int64_t y = 0; y < b.rows; y++)
      for (int64_t x = 0; x < b.cols; x++, place++)
        visit(place, n * b.imageStride + y * p.y.step * b.rowStride + x * p.x.step * b.colStride, b.image + n,
              b.row + y, b.col + x);
}

// Where the outputs lie: place (row, column) of the grid of image n is the pixel at this many floats.
struct OutputGrid {
  int64_t first, image, rowStep, colStep;

  GL_INLINE int64_t at(int64_t n, int64_t row, int64_t col) const {
    return first + n * image + row * rowStep + col * colStep;
  }
};

// places x outputs of one group of a block: every row is a patch, every column an output channel.
struct BlockProduct {
  int64_t places, firstCol, cols;  // of the output, absolute channel
  const float *b;                  // of column 0, panel after panel
  int64_t ldb, panelStride;
};
GL_SIMD void multiplyBlock(const Op &op, TileArgs &args, const float *base, const BlockProduct &q, const int64_t *rowA,
                           const int64_t *rowC) {
  const int64_t tiles = ceilDiv(q.places, kTileRows);
  for (int64_t col = 0; col < q.cols; col += kTileCols) {
    const int64_t cols = smaller(kTileCols, q.cols - col);
    args.b = q.b + col / kTileCols * q.panelStride;
    args.c = op.out[0].as<float>() + q.firstCol + col;
    for (int64_t t = 0; t < tiles; t++) {
      const int64_t row = tileBegin(t, tiles, q.places), rows = tileBegin(t + 1, tiles, q.places) - row;
      placeRows(args, base, rowA + row, rows);
      args.rowC = rowC + row;
      multiplyTile(args, rows, cols);
      finishTile(op, args.rowC, rows, q.firstCol + col, cols);
    }
  }
}

// The same where the outputs fill one vector: a tile is as many neighbouring places as there are registers.
GL_SIMD void multiplyLines(const Op &op, TileArgs &args, const float *base, const Block &block, const BlockProduct &q,
                           const int64_t *rowA, const int64_t *rowC) {
  const int64_t tiles = ceilDiv(block.cols, kTallRows);
  args.b = q.b;
  args.c = op.out[0].as<float>() + q.firstCol;
  args.spacing = block.cols > 1 ? rowA[1] - rowA[0] : 0;
  for (int64_t line = 0; line < q.places; line += block.cols)
    for (int64_t t = 0; t < tiles; t++) {
      const int64_t x = tileBegin(t, tiles, block.cols), rows = tileBegin(t + 1, tiles, block.cols) - x;
      args.a = base + rowA[line + x];
      args.rowC = rowC + line + x;
      multiplyTall(args, rows, q.cols);
      finishTile(op, args.rowC, rows, q.firstCol, q.cols);
    }
}

// Scratch of a thread: the slab, then room for so many offsets.
GL_SIMD size_t scratchBytes(const Patches &p, int64_t offsets) {
  return static_cast<size_t>(ceilDiv(p.slabSize(), 16) * 64 + 8 * offsets);
}
GL_SIMD int64_t *offsetsBehindSlab(const Patches &p, float *slab) {
  return reinterpret_cast<int64_t *>(slab + ceilDiv(p.slabSize(), 16) * 16);
}

}  // namespace gradline::cpu::GL_ISA
