// Images changed by chance while training, each sample by draws of its own: for fit({ augment }), or as layers in a model.

import { checkFinite, checkOptions, GradlineError } from '../errors.js'
import { slice } from '../ops/move.js'
import { cropFlip } from '../ops/random.js'
import { checkPair, type Pair } from '../ops/window.js'
import { showShape } from '../shape.js'
import { checkImage, type Layer, layer } from './layer.js'

export interface RandomFlipOptions {
  /** Mirrors left and right: true for half of the images, or a probability. Default true. */
  horizontal?: boolean | number
  /** Turns images upside down. Default false. */
  vertical?: boolean | number
  name?: string
}

/**
 * [n, h, w, c] while training: each image is mirrored with probability 1/2. In prediction nothing happens.
 * PyTorch: torchvision.transforms.RandomHorizontalFlip, RandomVerticalFlip; Keras: keras.layers.RandomFlip
 */
export function randomFlip(options: RandomFlipOptions = {}): Layer {
  const {
    horizontal = true,
    vertical = false,
    name,
  } = checkOptions('randomFlip', options, ['horizontal', 'vertical', 'name']) as RandomFlipOptions
  const toProbability = (which: string, value: boolean | number): number =>
    typeof value === 'boolean' ? Number(value) / 2 : checkFinite(`${which} of randomFlip`, value, { min: 0, max: 1 })
  const chances = {
    horizontal: toProbability('horizontal', horizontal),
    vertical: toProbability('vertical', vertical),
  }
  return layer(
    'randomFlip',
    (x, scope) => {
      checkImage('randomFlip', x)
      return scope.mode === 'train' ? cropFlip(x, chances) : x
    },
    name,
  )
}

export interface RandomCropOptions {
  /** Size of the window, one number or [h, w]. Default: that of the images. */
  size?: Pair
  /** Pixels by which the window may stand beyond the image on each side, one number or [vertical, horizontal]. Default 0. */
  padding?: Pair
  /** What is there. Default 0. */
  fill?: number
  name?: string
}

/**
 * [n, h, w, c] gives [n, ...size, c]. While training, of each image a window at a random place: with a padding and no size,
 * images moved by up to so many pixels. In prediction the window in the middle.
 * PyTorch: torchvision.transforms.RandomCrop; Keras: keras.layers.RandomCrop (without padding)
 */
export function randomCrop(options: RandomCropOptions): Layer {
  const {
    size,
    padding = 0,
    fill = 0,
    name,
  } = checkOptions('randomCrop', options, ['size', 'padding', 'fill', 'name']) as RandomCropOptions
  const window = size === undefined ? undefined : checkPair('size of randomCrop', size, 1)
  const beyond = checkPair('padding of randomCrop', padding, 0)
  checkFinite('fill of randomCrop', fill)
  return layer(
    'randomCrop',
    (x, scope) => {
      const channels = checkImage('randomCrop', x)
      const [n, h, w] = x.shape as [number, number, number]
      const [height, width] = window ?? [h, w]
      if (scope.mode === 'train') return cropFlip(x, { size: [height, width], padding: beyond, fill })
      if (height > h || width > w) {
        throw new GradlineError(
          'shape',
          `Expected images of at least ${showShape([height, width])} for randomCrop in prediction but received ${showShape(x.shape)}`,
        )
      }
      if (height === h && width === w) return x
      const begin = [0, Math.floor((h - height) / 2), Math.floor((w - width) / 2), 0]
      return slice(x, begin, [n, height, width, channels])
    },
    name,
  )
}
