/**
 * Makes the folder of a control plane out of a backup.
 *
 * Rule: what was restored gives nothing out twice. It has an epoch of its own, which no restore before had; join tokens that were not used are
 * void, for they may have been used since the backup was made; what counts once and was shown before the restore counts as shown.
 */
import {
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  lchownSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { RingfenceError } from '../../base/errors.ts'
import { epochMax } from '../../mesh/pushed.ts'
import { openDatabase } from '../sqlite-schema.ts'
import { type BackupFile, filesOf, storeName } from './content.ts'
import { type BackupAbout, type BackupSecret, openBackup } from './sealed.ts'
import { unfinishedName } from './unfinished.ts'

export interface RestoreOrder {
  readonly stateDir: string
  readonly file: Buffer
  readonly secret: BackupSecret
  readonly nowMs: number
}

export interface Restored {
  readonly about: BackupAbout
  readonly epoch: number
  /** Join tokens that are void now. */
  readonly tokensVoid: number
}

/** @throws RingfenceError CONFIG, and then nothing is there that a control plane would start from */
export async function restore({ stateDir, file, secret, nowMs }: RestoreOrder): Promise<Restored> {
  const { content, about } = await openBackup(file, secret)
  const files = filesOf(content)
  makeRoom(stateDir)
  const unfinished = join(stateDir, unfinishedName)
  writeFlushed(unfinished, Buffer.alloc(0))
  flushFolder(stateDir)
  for (const one of files) put(stateDir, one)
  const renewed = renewStore(join(stateDir, storeName), nowMs)
  giveToOwner(stateDir, files)
  for (const folder of new Set(files.map(({ name }) => dirname(join(stateDir, name))))) flushFolder(folder)
  rmSync(unfinished)
  flushFolder(stateDir)
  return { about, ...renewed }
}

/** Nothing of a control plane is overwritten, but what a restore has left that was not finished. */
function makeRoom(stateDir: string): void {
  mkdirSync(stateDir, { recursive: true, mode: 0o700 })
  const found = readdirSync(stateDir)
  if (found.includes(unfinishedName)) {
    for (const name of found) if (name !== unfinishedName) rmSync(join(stateDir, name), { recursive: true })
    return
  }
  if (found.length === 0) return
  throw new RingfenceError('CONFIG', `${stateDir} is not empty, and a restore replaces nothing`, {
    hint: 'stop the control plane and move its folder away, then restore',
  })
}

function put(stateDir: string, { name, bytes }: BackupFile): void {
  const path = join(stateDir, name)
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  writeFlushed(path, bytes)
}

function renewStore(path: string, nowMs: number): { epoch: number; tokensVoid: number } {
  // Of an older program it becomes one of this; a newer one is refused.
  const db = openDatabase(path)
  try {
    const before = Number(db.prepare('SELECT coalesce(max(epoch), 0) AS n FROM epochs').get()?.n)
    // By the clock, so that a backup that is restored twice has two epochs.
    const epoch = Math.min(Math.max(before + 1, Math.floor(nowMs / 1000)), epochMax)
    db.exec('BEGIN IMMEDIATE')
    db.prepare('INSERT INTO epochs (epoch, begun_ms) VALUES (?, ?)').run(epoch, Math.round(nowMs))
    const { changes } = db.prepare('UPDATE join_tokens SET used_ms = ? WHERE used_ms IS NULL').run(Math.round(nowMs))
    countRevocationsFrom(db, epoch)
    db.exec('COMMIT')
    db.exec('PRAGMA journal_mode = DELETE')
    return { epoch, tokensVoid: Number(changes) }
  } finally {
    db.close()
  }
}

/** Ids of those that were made since the backup are not given a second time: the record names them. */
function countRevocationsFrom(db: DatabaseSync, epoch: number): void {
  const made = db.prepare("SELECT coalesce(max(seq), 0) AS n FROM sqlite_sequence WHERE name = 'revocations'").get()?.n
  db.exec("DELETE FROM sqlite_sequence WHERE name = 'revocations'")
  db.prepare("INSERT INTO sqlite_sequence (name, seq) VALUES ('revocations', ?)").run(Math.max(Number(made), epoch))
}

/** Whoever restores as root leaves it to the user whose folder it is. */
function giveToOwner(stateDir: string, files: readonly BackupFile[]): void {
  const { uid, gid } = statSync(stateDir)
  if (process.getuid?.() !== 0 || uid === 0) return
  const paths = files.map(({ name }) => join(stateDir, name))
  for (const path of new Set([...paths.map((one) => dirname(one)), ...paths])) {
    if (existsSync(path)) lchownSync(path, uid, gid)
  }
}

function writeFlushed(path: string, bytes: Buffer): void {
  // Never through a link: the folder may be another user's, and this one root.
  const { O_WRONLY, O_CREAT, O_TRUNC, O_NOFOLLOW } = constants
  const file = openSync(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o600)
  try {
    writeFileSync(file, bytes)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}

function flushFolder(path: string): void {
  const folder = openSync(path, 'r')
  fsyncSync(folder)
  closeSync(folder)
}
