// Which planner looks at which op. It holds no kernel; an op without a planner cannot run on the card yet, and the list
// in docs/cuda.md says which those are.
#include "kernels.h"

namespace gradline::cuda {

PlanFn plannerOf(OpCode code) {
  switch (code) {
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
    case OpCode::leakyRelu:
    case OpCode::elu:
    case OpCode::sigmoid:
    case OpCode::tanh:
      return planUnary;
    case OpCode::reluGrad:
    case OpCode::leakyReluGrad:
    case OpCode::eluGrad:
    case OpCode::sigmoidGrad:
    case OpCode::tanhGrad:
    case OpCode::add:
    case OpCode::sub:
    case OpCode::mul:
    case OpCode::div:
    case OpCode::maximum:
    case OpCode::minimum:
    case OpCode::weightedSum:
    case OpCode::greater:
    case OpCode::equal:
      return planBinary;
    case OpCode::select:
      return planSelect;
    case OpCode::sum:
      return planSum;
    case OpCode::max:
      return planMax;
    case OpCode::argmax:
      return planArgmax;
    case OpCode::matmul:
      return planMatmul;
    case OpCode::conv2d:
      return planConv2d;
    case OpCode::conv2dInputGrad:
      return planConv2dInputGrad;
    case OpCode::conv2dFilterGrad:
      return planConv2dFilterGrad;
    case OpCode::maxPool2d:
      return planMaxPool2d;
    case OpCode::maxPool2dGrad:
      return planMaxPool2dGrad;
    case OpCode::avgPool2d:
      return planAvgPool2d;
    case OpCode::avgPool2dGrad:
      return planAvgPool2dGrad;
    case OpCode::batchNorm:
      return planBatchNorm;
    case OpCode::batchNormGrad:
      return planBatchNormGrad;
    case OpCode::batchNormInference:
      return planBatchNormInference;
    case OpCode::softmax:
      return planSoftmax;
    case OpCode::softmaxGrad:
      return planSoftmaxGrad;
    case OpCode::copy:
      return planCopy;
    case OpCode::fill:
      return planFill;
    case OpCode::broadcast:
    case OpCode::transpose:
    case OpCode::slice:
      return planStrided;
    case OpCode::concat:
      return planConcat;
    case OpCode::pad:
      return planPad;
    case OpCode::gather:
      return planGather;
    case OpCode::gatherGrad:
      return planGatherGrad;
    case OpCode::softmaxCrossEntropy:
      return planSoftmaxCrossEntropy;
    case OpCode::softmaxCrossEntropyGrad:
      return planSoftmaxCrossEntropyGrad;
    case OpCode::oneHot:
      return planOneHot;
    case OpCode::requireFinite:
      return planRequireFinite;
    case OpCode::dropout:
      return planDropout;
    case OpCode::cropFlip:
      return planCropFlip;
    case OpCode::randomUniform:
      return planRandomUniform;
    case OpCode::randomNormal:
      return planRandomNormal;
    case OpCode::sampleRows:
      return planSampleRows;
    case OpCode::scheduleRate:
      return planScheduleRate;
    case OpCode::advance:
      return planAdvance;
    case OpCode::stepValue:
      return planStepValue;
    case OpCode::countGroup:
      return planCountGroup;
    case OpCode::accumulateGradient:
      return planAccumulateGradient;
    case OpCode::prepareUpdate:
      return planPrepareUpdate;
    case OpCode::maxNorm:
      return planMaxNorm;
    case OpCode::averageWeights:
      return planAverageWeights;
    default:
      return flagsOf(code) & kUpdateRule ? planUpdateRule : nullptr;
  }
}

}  // namespace gradline::cuda
