// Replaces a file in one step: after a crash or a full disk there is either the old file or the whole new one.
// It is not a lock: of several writers at once the last wins, and each file is whole.

import { randomBytes } from 'node:crypto'
import { open, realpath, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { expected, fileError, GradlineError } from '../errors.js'

/**
 * Writes `bytes` to `path` by way of a temporary file in the same folder (`.gradline-<pid>-<random>.tmp`), forced to the disk
 * before it takes the name. A symbolic link is followed, and an existing file keeps its permissions. The folder must exist.
 * Throws GradlineError `missing`, `file` or `argument`; the old file is then untouched and the temporary file removed.
 */
export async function writeFileAtomic(path: string, bytes: Uint8Array): Promise<void> {
  if (typeof path !== 'string' || path === '') throw expected('a file name', 'path', path)
  if (!(bytes instanceof Uint8Array)) throw expected('a Uint8Array', 'bytes', bytes)
  try {
    await replaceFile(path, bytes)
  } catch (cause) {
    if (cause instanceof GradlineError) throw cause
    throw fileError('write', path, cause)
  }
}

async function replaceFile(path: string, bytes: Uint8Array): Promise<void> {
  const target = await unlessMissing(realpath(path), path)
  const old = await unlessMissing(stat(target), undefined)
  // A rename would replace a device or a pipe by a plain file.
  if (old !== undefined && !old.isFile()) {
    throw new GradlineError('file', `Cannot write ${path}: it exists and is not a regular file.`)
  }
  const folder = dirname(target)
  const temporary = join(folder, `.gradline-${process.pid}-${randomBytes(6).toString('hex')}.tmp`)
  const file = await open(temporary, 'wx', 0o666)
  try {
    try {
      if (old !== undefined) await file.chmod(old.mode & 0o777)
      await file.writeFile(bytes)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, target)
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined)
    throw error
  }
  await syncFolder(folder)
}

async function unlessMissing<T>(found: Promise<T>, otherwise: T): Promise<T> {
  try {
    return await found
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return otherwise
    throw error
  }
}

// The new name survives a power cut only once the folder is on the disk too. Some systems cannot do this for a folder, or
// not for one that may be written but not listed; the file itself is whole by then, so that is no failure.
const cannotSyncFolder = new Set(['EACCES', 'EBADF', 'EINVAL', 'EISDIR', 'ENOTSUP', 'EPERM'])

async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, 'r')
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  } catch (error) {
    if (error instanceof Error && 'code' in error && cannotSyncFolder.has(String(error.code))) return
    throw error
  }
}
