/** The files of segments: what is used of node:fs, and their names. Tests hand in one that fails. */
import { closeSync, constants, fdatasync, fdatasyncSync, ftruncateSync, openSync, unlinkSync, writeSync } from 'node:fs'

export interface SegmentFiles {
  open(path: string): number
  /** Returns how many bytes were taken, which may be fewer. */
  write(fd: number, bytes: Uint8Array): number
  /** Calls back when the disk has what was written. */
  sync(fd: number, done: (reason: unknown) => void): void
  /** Returns when it has. */
  syncNow(fd: number): void
  truncate(fd: number, length: number): void
  close(fd: number): void
  remove(path: string): void
}

export const realFiles: SegmentFiles = {
  open: (path) => {
    const { O_WRONLY, O_APPEND, O_CREAT, O_EXCL } = constants
    return openSync(path, O_WRONLY | O_APPEND | O_CREAT | O_EXCL, 0o600)
  },
  write: (fd, bytes) => writeSync(fd, bytes),
  sync: (fd, done) => fdatasync(fd, done),
  syncNow: (fd) => fdatasyncSync(fd),
  truncate: (fd, length) => ftruncateSync(fd, length),
  close: (fd) => closeSync(fd),
  remove: (path) => unlinkSync(path),
}

/** Names sort in the order in which segments were begun, whatever the clock said. */
export function segmentName(proxy: string, serial: number, nowMs: number): string {
  const time = new Date(nowMs).toISOString().replace(/[-:]/g, '')
  return `audit-${nameIn(proxy)}-${String(serial).padStart(10, '0')}-${time}.sealed`
}

/** What the names of its segments are like. */
export function segmentPattern(proxy: string): RegExp {
  return new RegExp(`^audit-${nameIn(proxy).replaceAll('.', '\\.')}-\\d{10}-[0-9T.]{15,20}Z\\.sealed$`)
}

function nameIn(proxy: string): string {
  return proxy.replace(/[^A-Za-z0-9._-]/g, '_').slice(0, 128)
}

/** Undefined for what is no name of a segment. */
export function serialOf(name: string): number | undefined {
  const [, serial] = /^audit-.*-(\d{10})-[^-]*\.sealed$/.exec(name) ?? []
  return serial === undefined ? undefined : Number(serial)
}
