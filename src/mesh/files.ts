/** Files that are read by others while we replace them. */
import { randomUUID } from 'node:crypto'
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, type Stats, writeFileSync } from 'node:fs'
import { type FileHandle, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

/** Writes beside, flushes, renames over. */
export function writeFileAtomically(path: string, text: string | Uint8Array, mode: number): void {
  const beside = `${path}.${randomUUID()}.new`
  const file = openSync(beside, 'wx', mode)
  try {
    writeFileSync(file, text)
    fsyncSync(file)
    closeSync(file)
    renameSync(beside, path)
  } catch (error) {
    rmSync(beside, { force: true })
    throw error
  }
  flushFolder(dirname(path))
}

/** What was renamed in it is so after a loss of power, too. */
export function flushFolder(path: string): void {
  const folder = openSync(path, 'r')
  fsyncSync(folder)
  closeSync(folder)
}

/**
 * `writeFileAtomically` beside the event loop, which a flush holds for as long as the disk takes.
 * @param keptMode of a file that is there these bits of its mode are kept, with its owner and its group; without it `mode` holds. Throws where
 * this process may not give the file to them, for who reads it now could not any more
 */
export async function replaceFile(path: string, text: string, mode: number, keptMode?: number): Promise<void> {
  const beside = `${path}.${randomUUID()}.new`
  const before = keptMode === undefined ? undefined : await statIfThere(path)
  try {
    // For its owner only until it is as it is to be: it may be a key.
    await writeFlushed(beside, text, before === undefined ? mode : 0o600, async (file) => {
      if (before === undefined) return
      const { uid, gid } = await file.stat()
      if (uid !== before.uid || gid !== before.gid) await file.chown(before.uid, before.gid)
      await file.chmod(before.mode & (keptMode ?? 0))
    })
    await rename(beside, path)
  } catch (error) {
    // It may be a key: not one is left behind, however often it is tried again.
    await rm(beside, { force: true })
    throw error
  }
  await using folder = await open(dirname(path), 'r')
  await folder.sync()
}

async function writeFlushed(
  path: string,
  text: string,
  mode: number,
  adjust: (file: FileHandle) => Promise<void>,
): Promise<void> {
  await using file = await open(path, 'wx', mode)
  await file.writeFile(text)
  await adjust(file)
  await file.sync()
}

/** What a process that was killed while it replaced this file has left beside it. Nobody else may be replacing it. */
export async function removeLeftBeside(path: string): Promise<void> {
  const folder = dirname(path)
  const beside = `${basename(path)}.`
  for (const name of await readdir(folder)) {
    const isOurs = name.startsWith(beside) && /^[0-9a-f-]{36}\.new$/.test(name.slice(beside.length))
    if (isOurs) await rm(join(folder, name), { force: true })
  }
}

async function statIfThere(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}

export function readIfThere(path: string): string | undefined {
  return readBytesIfThere(path)?.toString('utf8')
}

export function readBytesIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}
