// The shape, dtype and attribute rules of every op, in the order of ops.def: one case per op, update rules together.
// They are what kernels rely on: after checkShapes no kernel can leave its operands. Broken rules mean a defect of the
// TypeScript part or a foreign program; people's arguments were checked there, with better words.
#include "rules.h"

// An op without a case below does not compile; so no switch over all ops here has a default.
#pragma GCC diagnostic error "-Wswitch"

namespace gradline {
namespace {

constexpr int64_t kMaxGeometry = int64_t{1} << 20;  // stride, padding, dilation, kernel: index arithmetic fits in i64
constexpr int64_t kMaxI32 = 0x7fffffff;

class Rules : Checks {
 public:
  Rules(const Image &image, const Op &op) : Checks(image, op) {}
  void check();

 private:
  void attributesAreFinite() const;
  void broadcasts() const;
  void reduces() const;
  void columnSums(int64_t columns) const;
  void convolves(const Tensor &x, const Tensor &w, const Tensor &y) const;
  void pools(const Tensor &x, const Tensor &y, bool counts) const;
  void moves() const;
  void block(const Tensor &outer, const Tensor &inner) const;
  void normalizes() const;
  void schedules() const;
  void updates() const;
  void updateRule() const;
  void epilogues() const;
};

void Rules::attributesAreFinite() const {
  if (op_.code == OpCode::fill && out().dtype != DType::i32) return;  // -inf masks are an ordinary use of fill
  for (double value : op_.attr) {
    if (!std::isfinite(value)) fail("an attribute is not finite");
  }
}

// Each operand has, from the right, the length of the output or 1; the output is no larger than their joint shape.
void Rules::broadcasts() const {
  bool reached[kMaxRank] = {};
  for (int i = 0; i < op_.inputs; i++) {
    const int missing = out().rank - in(i).rank;
    require(missing >= 0, "no operand has a higher rank than the output");
    for (int axis = 0; axis < in(i).rank; axis++) {
      const int64_t length = in(i).dims[axis], joint = out().dims[missing + axis];
      require(length == joint || length == 1, "operands broadcast to the shape of the output");
      reached[missing + axis] |= length == joint;
    }
  }
  if (op_.code == OpCode::broadcast) return;
  for (int axis = 0; axis < out().rank; axis++)
    require(reached[axis], "the output has the joint shape of the operands");
}

void Rules::reduces() const {
  const int64_t mask = integer(0, 0, (int64_t{1} << in(0).rank) - 1);
  Shape shape(in(0));
  for (int axis = 0; axis < shape.rank; axis++) {
    if (mask >> axis & 1) shape.dims[axis] = 1;
  }
  hasShape(out(), shape);
}

// The optional second output: one sum per column, [columns] or the same with axes of length 1 before it.
void Rules::columnSums(int64_t columns) const {
  if (op_.outputs > 1)
    require(out(1).size == columns && out(1).channels() == columns, "output 1 is a row with one sum per column");
}

// x [n, h, w, ci], w [kh, kw, ci / groups, co], y [n, oh, ow, co]. The three convolutions share attribute positions.
void Rules::convolves(const Tensor &x, const Tensor &w, const Tensor &y) const {
  namespace a = attr::conv2d;
  allFloat();
  for (const Tensor *t : {&x, &w, &y}) hasRank(*t, 4);
  for (int i : {a::strideH, a::strideW, a::dilationH, a::dilationW}) integer(i, 1, kMaxGeometry);
  for (int i : {a::padTop, a::padLeft}) integer(i, 0, kMaxGeometry);
  const int64_t groups = integer(a::groups, 1, kMaxI32), ci = x.dims[3], co = w.dims[3];
  require(w.dims[0] <= kMaxGeometry && w.dims[1] <= kMaxGeometry, "kernels have at most 2^20 rows and columns");
  require(ci % groups == 0 && co % groups == 0 && w.dims[2] == ci / groups,
          "channels divide into groups and w is [kh, kw, ci / groups, co]");
  require(y.dims[0] == x.dims[0] && y.dims[3] == co, "x is [n, h, w, ci] and y is [n, oh, ow, co]");
}

// x [n, h, w, c], y [n, oh, ow, c]. Windows move one way, so if the first and the last hold an element, all do.
void Rules::pools(const Tensor &x, const Tensor &y, bool counts) const {
  namespace a = attr::avgPool2d;
  allFloat();
  hasRank(x, 4);
  hasRank(y, 4);
  if (counts) flag(a::countPadding);
  require(x.dims[0] == y.dims[0] && x.dims[3] == y.dims[3], "x is [n, h, w, c] and y is [n, oh, ow, c]");
  for (int axis = 0; axis < 2; axis++) {
    const int64_t kernel = integer(a::kernelH + axis, 1, kMaxGeometry);
    const int64_t stride = integer(a::strideH + axis, 1, kMaxGeometry);
    const int64_t padding = integer(a::padTop + axis, 0, kMaxGeometry);
    require(padding < kernel && (y.dims[1 + axis] - 1) * stride - padding < x.dims[1 + axis],
            "every window holds at least one element of x");
  }
}

// inner lies in outer, beginning at the attributes b0 ..
void Rules::block(const Tensor &outer, const Tensor &inner) const {
  require(outer.rank == inner.rank, "ranks are equal");
  for (int axis = 0; axis < outer.rank; axis++) {
    const int64_t begin = integer(axis, 0, kMaxInteger);
    require(begin <= outer.dims[axis] - inner.dims[axis], "the block lies inside");
  }
}

void Rules::moves() const {
  switch (op_.code) {
    case OpCode::copy:
      return require(in(0).size == out().size, "as many elements come out as go in");
    case OpCode::fill:
      if (out().dtype == DType::i32) integer(attr::fill::value, -kMaxI32 - 1, kMaxI32);
      if (out().dtype == DType::u8) integer(attr::fill::value, 0, 255);
      return;
    case OpCode::gather:
      isType(in(1), DType::i32);
      hasRank(in(1), 1);
      isType(out(), in(0).dtype == DType::i32 ? DType::i32 : floats_);
      [[fallthrough]];
    case OpCode::gatherGrad: {
      isType(in(1), DType::i32);
      hasRank(in(1), 1);
      if (op_.code == OpCode::gatherGrad) {
        isFloat(in(0));
        isFloat(out());
      }
      const Tensor &table = op_.code == OpCode::gather ? in(0) : out(),
                   &rows = op_.code == OpCode::gather ? out() : in(0);
      require(table.rank >= 1, "the table is [r, ...]");
      Shape shape(table);
      shape.dims[0] = in(1).dims[0];
      return hasShape(rows, shape);
    }
    default:
      break;
  }
  for (int i = 0; i < op_.inputs; i++) isType(in(i), out().dtype);
  if (op_.code == OpCode::broadcast) return broadcasts();
  if (op_.code == OpCode::slice) return block(in(0), out());
  if (op_.code == OpCode::pad) return block(out(), in(0));
  if (op_.code == OpCode::transpose) {
    hasRank(out(), in(0).rank);
    int64_t seen = 0;
    for (int axis = 0; axis < out().rank; axis++) {
      const int64_t from = integer(axis, 0, in(0).rank - 1);
      seen |= int64_t{1} << from;
      require(out().dims[axis] == in(0).dims[from], "axis i of the output is axis p_i of the input");
    }
    return require(seen == (int64_t{1} << in(0).rank) - 1, "p is a permutation of the axes");
  }
  // concat
  require(out().rank >= 1, "there is an axis to join along");
  const int64_t axis = integer(attr::concat::axis, 0, out().rank - 1);
  int64_t length = 0;
  for (int i = 0; i < op_.inputs; i++) {
    Shape shape(out());
    shape.dims[axis] = in(i).rank == out().rank ? in(i).dims[axis] : 0;
    hasShape(in(i), shape);
    length += in(i).dims[axis];
  }
  require(length == out().dims[axis], "lengths along the axis add up");
}

// The float [..., c] tensors of a normalisation in `full`, everything else a row [c].
void Rules::normalizes() const {
  allFloat();
  require(in(0).rank >= 1, "x is [..., c]");
  const Shape row{in(0).channels()};
  const int fullInputs = op_.code == OpCode::batchNormGrad ? 2 : 1;
  for (int i = 0; i < op_.inputs; i++) {
    i < fullInputs ? sameShape(in(i), in(0)) : hasShape(in(i), row);
  }
  for (int i = 0; i < op_.outputs; i++) i == 0 ? sameShape(out(), in(0)) : hasShape(out(i), row);
  notNegative(attr::batchNorm::eps);
  if (op_.code == OpCode::batchNormGrad) notNegative(attr::batchNormGrad::slope);
}

// A table is read at places below its length, so it has at least one entry; a divisor is not 0, a period not endless.
void Rules::schedules() const {
  namespace a = attr::scheduleRate;
  isStep(in(0));
  const int64_t kind = integer(a::kind, 0, kScheduleKinds - 1);
  integer(a::unit, 0, 1);
  notNegative(a::begin);
  require(op_.attr[a::begin] <= op_.attr[a::end], "begin <= end");
  const bool table = kind == static_cast<int64_t>(ScheduleKind::table);
  require(op_.inputs == (table ? 2 : 1), "the kind `table`, and no other, has a table");
  if (table) {
    isFloat(in(1));
    hasRank(in(1), 1);
    require(in(1).size >= 1, "a table has an entry");
  }
  const bool divides = kind != static_cast<int64_t>(ScheduleKind::constant) && !table;
  if (divides) require(op_.attr[a::a] > 0, "a is above 0");
  if (kind == static_cast<int64_t>(ScheduleKind::cosine)) {
    const double growth = op_.attr[a::c];
    require(growth == 0 || (growth >= 1 && growth <= 1000 && op_.attr[a::a] >= 1),
            "c, the growth of periods, is 0 or in [1, 1000], with a first period of at least 1");
  }
}

// Float vectors of equal length, parameters first, then moments, gradient last, then the StepState. Segments count from
// the start of the parameter region, so the operand has to begin there and hold all of them.
void Rules::updates() const {
  const int flats = op_.inputs - 1;
  for (int i = 0; i < flats; i++) {
    isFloat(in(i));
    require(in(i).size == in(0).size, "parameters, moments and gradient are congruent");
  }
  isStep(in(flats));
  require(in(0).offset == 0, "the parameters are their region from its start");
  for (const SegmentRecord &s : image_.segments) {
    if (s.region == in(0).region) require(s.offset + s.count <= in(0).size, "all segments lie inside the parameters");
  }
}

void Rules::updateRule() const {
  notNegative(attr::sgdUpdate::clipValue);  // the first attribute of them all
  updates();
}

bool takesEpilogues(OpCode code) {
  switch (code) {
    case OpCode::matmul:
    case OpCode::conv2d:
    case OpCode::conv2dInputGrad:
    case OpCode::batchNorm:
    case OpCode::batchNormInference:
    case OpCode::maxPool2dGrad:
    case OpCode::avgPool2dGrad:
      return true;
    default:
      return false;
  }
}

void Rules::epilogues() const {
  if (op_.epilogues && !takesEpilogues(op_.code)) fail("this op takes no epilogue");
  for (int i = 0; i < op_.epilogues; i++) {
    const Epilogue &e = op_.epilogue[i];
    const OpInfo &info = infoOf(e.code);
    const std::string name = "epilogue " + std::to_string(i) + " (" + info.name + ") ";
    if (!(info.flags & kEpilogue)) fail(name + "may not be one");
    if (e.hasOperand != (info.mostInputs == 2)) fail(name + (e.hasOperand ? "takes no operand" : "needs an operand"));
    if (!std::isfinite(e.attr) || e.attr < 0) fail(name + "needs a finite attribute of at least 0");
    if (!e.hasOperand) continue;
    isFloat(e.operand);
    const bool rows = e.code == OpCode::add || e.code == OpCode::mul;
    const bool row = rows && e.operand.size == out().channels();
    if (e.operand.size != out().size && !row) {
      fail(name + "has operand " + describe(e.operand) + ", expected the size of the output " + describe(out()) +
           (rows ? " or one of its rows" : ""));
    }
  }
}

void Rules::check() {
  attributesAreFinite();
  epilogues();
  switch (op_.code) {
    case OpCode::leakyRelu:
    case OpCode::elu:
    case OpCode::leakyReluGrad:
    case OpCode::eluGrad:
      notNegative(0);
      [[fallthrough]];
    case OpCode::neg:
    case OpCode::abs:
    case OpCode::sign:
    case OpCode::exp:
    case OpCode::log:
    case OpCode::log1p:
    case OpCode::erf:
    case OpCode::sqrt:
    case OpCode::scale:
    case OpCode::relu:
    case OpCode::sigmoid:
    case OpCode::tanh:
    case OpCode::reluGrad:
    case OpCode::sigmoidGrad:
    case OpCode::tanhGrad:
    case OpCode::requireFinite:
      allFloat();
      for (int i = 0; i < op_.inputs; i++) sameShape(in(i), out());
      return;
    case OpCode::equal:
      if (in(0).dtype == DType::i32) {
        isType(in(1), DType::i32);
        isFloat(out());
        return broadcasts();
      }
      [[fallthrough]];
    case OpCode::add:
    case OpCode::sub:
    case OpCode::mul:
    case OpCode::div:
    case OpCode::maximum:
    case OpCode::minimum:
    case OpCode::weightedSum:
    case OpCode::greater:
    case OpCode::select:
      allFloat();
      return broadcasts();
    case OpCode::sum:
    case OpCode::max:
      allFloat();
      return reduces();
    case OpCode::argmax: {
      isFloat(in(0));
      isType(out(), DType::i32);
      require(in(0).rank >= 1 && in(0).channels() <= kMaxI32, "x is [..., c] and c fits an i32");
      Shape shape(in(0));
      shape.rank--;
      return hasShape(out(), shape);
    }
    case OpCode::matmul: {
      allFloat();
      hasRank(in(0), 2);
      hasRank(in(1), 2);
      const int64_t ta = integer(attr::matmul::transposeA, 0, 1), tb = integer(attr::matmul::transposeB, 0, 1);
      require(in(0).dims[1 - ta] == in(1).dims[tb], "a is [m, k] and b is [k, n]");
      columnSums(in(1).dims[1 - tb]);
      return hasShape(out(), {in(0).dims[ta], in(1).dims[1 - tb]});
    }
    case OpCode::conv2d:
      return convolves(in(0), in(1), out());
    case OpCode::conv2dInputGrad:
      return convolves(out(), in(1), in(0));
    case OpCode::conv2dFilterGrad:
      columnSums(in(1).channels());
      return convolves(in(0), out(), in(1));
    case OpCode::maxPool2d:
      return pools(in(0), out(), false);
    case OpCode::maxPool2dGrad:
      sameShape(in(2), in(0));
      sameShape(out(), in(1));
      return pools(in(1), in(0), false);
    case OpCode::avgPool2d:
      return pools(in(0), out(), true);
    case OpCode::avgPool2dGrad:
      return pools(out(), in(0), true);
    case OpCode::batchNorm:
    case OpCode::batchNormGrad:
    case OpCode::batchNormInference:
      return normalizes();
    case OpCode::softmax:
    case OpCode::softmaxGrad:
      allFloat();
      require(out().rank >= 1, "x is [..., c]");
      for (int i = 0; i < op_.inputs; i++) sameShape(in(i), out());
      return;
    case OpCode::copy:
    case OpCode::fill:
    case OpCode::broadcast:
    case OpCode::transpose:
    case OpCode::concat:
    case OpCode::slice:
    case OpCode::pad:
    case OpCode::gather:
    case OpCode::gatherGrad:
      return moves();
    case OpCode::softmaxCrossEntropy:
    case OpCode::softmaxCrossEntropyGrad: {
      const bool grad = op_.code == OpCode::softmaxCrossEntropyGrad;
      const Tensor &wide = in(grad ? 1 : 0), &labels = in(grad ? 2 : 1), &loss = grad ? in(0) : out(0);
      const Tensor &result = out(grad ? 0 : 1);
      for (const Tensor *t : {&wide, &loss, &result}) isFloat(*t);
      hasRank(wide, 2);
      sameShape(result, wide);
      hasShape(loss, {wide.dims[0]});
      if (labels.dtype == DType::i32) return hasShape(labels, {wide.dims[0]});
      isFloat(labels);
      return sameShape(labels, wide);
    }
    case OpCode::oneHot: {
      const Tensor &labels = in(0), &rows = out();
      isType(labels, DType::i32);
      isFloat(rows);
      bool same = rows.rank == labels.rank + 1;
      for (int i = 0; same && i < labels.rank; i++) same = rows.dims[i] == labels.dims[i];
      require(same && rows.channels() <= kMaxI32, "labels [...] give [..., k] and k fits an i32");
      integer(attr::oneHot::ignore, -int64_t{kMaxI32} - 1, kMaxInteger);
      return;
    }
    case OpCode::dropout:
      isFloat(in(0));
      isFloat(out());
      sameShape(in(0), out());
      isStep(in(1));
      require(op_.attr[attr::dropout::rate] >= 0 && op_.attr[attr::dropout::rate] < 1, "rate is in [0, 1)");
      integer(attr::dropout::stream, 0, 0xffffffff);
      return;
    case OpCode::cropFlip: {
      namespace a = attr::cropFlip;
      isFloat(in(0));
      isFloat(out());
      hasRank(in(0), 4);
      hasRank(out(), 4);
      isStep(in(1));
      flag(a::back);
      const Tensor &image = op_.attr[a::back] != 0 ? out() : in(0), &window = op_.attr[a::back] != 0 ? in(0) : out();
      require(image.dims[0] == window.dims[0] && image.dims[3] == window.dims[3], "images and channels stay");
      for (int axis = 0; axis < 2; axis++) {
        const int64_t beyond = integer(a::top + axis, 0, kMaxGeometry);
        require(window.dims[1 + axis] <= image.dims[1 + axis] + 2 * beyond, "the window lies inside");
        require(image.dims[1 + axis] <= kMaxGeometry, "places fit an i32");
        const double probability = op_.attr[a::vertical + axis];
        require(probability >= 0 && probability <= 1, "probabilities are in [0, 1]");
      }
      integer(a::stream, 0, 0xffffffff);
      return;
    }
    case OpCode::randomUniform:
    case OpCode::randomNormal:
      isStep(in(0));
      isFloat(out());
      integer(attr::randomUniform::stream, 0, 0xffffffff);
      return;
    case OpCode::sampleRows:
      isStep(in(0));
      isType(out(), DType::i32);
      hasRank(out(), 1);
      integer(attr::sampleRows::samples, 1, kMaxI32);
      integer(attr::sampleRows::shuffle, 0, 2);
      return;
    case OpCode::advance:
      isStep(in(0));
      integer(attr::advance::batch, 0, kMaxInteger);
      integer(attr::advance::samples, 0, kMaxInteger);
      return;
    case OpCode::scheduleRate:
      return schedules();
    case OpCode::stepValue:
      isStep(in(0));
      isFloat(out());
      integer(attr::stepValue::field, 0, 5);
      return hasShape(out(), {1});
    case OpCode::countGroup:
      isStep(in(0));
      integer(attr::countGroup::size, 1, kMaxInteger);
      integer(attr::countGroup::rows, 1, kMaxInteger);
      integer(attr::countGroup::samples, 0, kMaxInteger);
      return;
    case OpCode::accumulateGradient:
      integer(attr::accumulateGradient::rows, 1, kMaxInteger);
      return updates();
    case OpCode::prepareUpdate:
      isStep(in(0));
      for (int i = 1; i < op_.inputs; i++) isFloat(in(i));
      flag(attr::prepareUpdate::grouped);
      return notNegative(attr::prepareUpdate::maxNorm);
    case OpCode::momentumUpdate:
      flag(attr::momentumUpdate::nesterov);
      flag(attr::momentumUpdate::rateOutside);
      return updateRule();
    case OpCode::rmspropMomentumUpdate:
      flag(attr::rmspropMomentumUpdate::centered);
      return updateRule();
    case OpCode::maxNorm:
      isFloat(in(0));
      isStep(in(1));
      require(in(0).rank >= 1, "the parameter is [..., units]");
      return notNegative(attr::maxNorm::limit);
    case OpCode::averageWeights:
      isFloat(in(0));
      isFloat(in(1));
      sameShape(in(1), in(0));
      isStep(in(2));
      return notNegative(attr::averageWeights::decay);
    case OpCode::sgdUpdate:
    case OpCode::adagradUpdate:
    case OpCode::adadeltaUpdate:
    case OpCode::rmspropUpdate:
    case OpCode::adamUpdate:
    case OpCode::amsgradUpdate:
    case OpCode::adamaxUpdate:
    case OpCode::nadamUpdate:
    case OpCode::radamUpdate:
    case OpCode::lionUpdate:
      return updateRule();
    case OpCode::count:
      break;
  }
  fail("has no shape rule");
}

}  // namespace

void checkShapes(const Image &image, const Op &op) { Rules(image, op).check(); }

}  // namespace gradline
