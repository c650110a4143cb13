/** Files that are read by others while we replace them. */
import { randomUUID } from 'node:crypto'
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'

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

/** `writeFileAtomically` beside the event loop, which a flush holds for as long as the disk takes. */
export async function replaceFile(path: string, text: string, mode: number): Promise<void> {
  const beside = `${path}.${randomUUID()}.new`
  try {
    await writeFlushed(beside, text, mode)
    await rename(beside, path)
  } catch (error) {
    // It may be a key: not one is left behind, however often it is tried again.
    await rm(beside, { force: true })
    throw error
  }
  await using folder = await open(dirname(path), 'r')
  await folder.sync()
}

async function writeFlushed(path: string, text: string, mode: number): Promise<void> {
  await using file = await open(path, 'wx', mode)
  await file.writeFile(text)
  await file.sync()
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
