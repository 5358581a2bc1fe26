// `npm start -- ARGS`: sets up, then trains on MNIST through the command line program, e.g. `npm start -- --epochs 3`.
import { hand, main } from './common.mjs'
import { setup } from './setup.mjs'

main((args) => {
  setup()
  return hand('dist/cli/index.js', ['mnist', ...args])
})
