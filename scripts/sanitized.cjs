// Preloaded by `npm test -- --sanitize`: whoever asks for the native core gets the build with the sanitizers.
const Module = require('node:module')
const { join } = require('node:path')

const resolve = Module._resolveFilename
Module._resolveFilename = (request, ...rest) =>
  request.endsWith('build-core/Release/gradline.node')
    ? join(__dirname, '../build-sanitize/RelWithDebInfo/gradline.node')
    : resolve(request, ...rest)
