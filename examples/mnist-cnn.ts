// Learns to read handwritten digits with convolution: npm run example -- mnist-cnn --epochs 5 --seed 1
// It differs from mnist-mlp in its layers alone; they see which pixels are neighbours, and make fewer errors for it.

import { parseArgs } from 'node:util'
import { adam, conv2d, crossEntropy, datasets, dense, flatten, maxPool2d, model, progress, relu } from 'gradline'

const { values } = parseArgs({
  options: { epochs: { type: 'string', default: '5' }, seed: { type: 'string', default: '1' } },
})

// 60,000 images of 28 x 28 bytes to learn from and 10,000 to be judged by. The last 5,000 of the first are held out: they
// show after each epoch how the model does on images it has not learned, so that the test data stay unseen to the end.
const { train, validation, test } = (await datasets.mnist()).split({ validation: 5000, shuffle: false })

// A model is the shape of one sample and a list of layers. The last layer has one output per digit; what it gives are
// scores, which the loss turns into probabilities (softmax). First weights follow from the seed.
const net = model(
  [28, 28, 1],
  [
    conv2d(30, 5), // [24, 24, 30]: 30 filters of 5 x 5 pixels slide over the image
    relu(),
    maxPool2d(2), // [12, 12, 30]: the strongest answer of each 2 x 2
    flatten(), // [4320]
    dense(100), // [100]
    relu(),
    dense(10), // [10]: the scores of the digits
  ],
  { seed: Number(values.seed) },
)
console.log(net.summary())

// Each step takes the next 100 images, and Adam moves every weight a little against its gradient of the loss. Plain
// gradient descent, sgd({ lr: 0.1 }) in the place of adam(), learns this as well, in more epochs.
await net.fit(train, {
  loss: crossEntropy(),
  optimizer: adam({ lr: 0.001 }),
  metrics: ['accuracy'],
  epochs: Number(values.epochs),
  batchSize: 100,
  validation,
  callbacks: [progress()],
})

// The first test image, and what the model takes it for.
const pixels = [...test.take(1).inputs.data]
for (let row = 0; row < 28; row += 2) {
  console.log(
    pixels
      .slice(28 * row, 28 * row + 28)
      .map((pixel) => ' .:*#'[Math.round(pixel / 64)])
      .join(''),
  )
}
const scores = (await net.predict(test.take(1))).data
console.log(`is read as ${scores.indexOf(Math.max(...scores))}`)

// How many of all 10,000 test images it reads rightly.
const measured = await net.evaluate(test, { loss: crossEntropy(), metrics: ['accuracy'] })
console.log(`test accuracy ${measured.accuracy?.toFixed(4)}`)
