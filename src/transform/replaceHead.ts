// The first step of transfer learning: the same features for other classes.

import { checkInteger, checkOptions, GradlineError } from '../errors.js'
import { dense } from '../layers/dense.js'
import { namesOf } from '../layers/layer.js'
import { checkLayered, type Model } from '../train/model.js'
import { denseOptions, named, rebuild } from './rebuild.js'

/**
 * A model of the same layers but for the last dense one, which gets `classes` units and fresh weights, by its own
 * initializer and the model's seed or the one given; all other weights and states are copied. The given model is not
 * changed. Throws when no dense layer stands at the top level.
 * PyTorch: net.fc = torch.nn.Linear(...); Keras: include_top=False and a new keras.layers.Dense
 */
export async function replaceHead(net: Model, classes: number, options: { seed?: number } = {}): Promise<Model> {
  checkLayered('replaceHead', net)
  checkInteger('classes of replaceHead', classes, { min: 1 })
  checkOptions('replaceHead', options, ['seed'])
  const names = namesOf(net.layers)
  const at = net.layers.findLastIndex((each) => denseOptions(each))
  const head = net.layers[at]
  const { name } = names[at] ?? { name: '' }
  if (!head) {
    throw new GradlineError(
      'argument',
      `Expected a model with a dense layer for replaceHead but ${net.name} has none`,
      {
        fix: `Its layers are ${names.map((each) => each.name).join(', ')}`,
      },
    )
  }
  const { units: _, ...rest } = denseOptions(head) ?? {}
  const layers = net.layers.map((each, i) =>
    i === at ? dense(classes, { ...rest, name }) : named(each, names[i]?.name as string),
  )
  return rebuild(net, layers, new Map(), { seed: options.seed, isKept: (path) => !path.startsWith(`${name}.`) })
}
