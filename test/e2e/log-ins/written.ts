/**
 * Everything that the mesh wrote and tells while a suite ran: the files of its state folder, the pages of its admin ports, and what the system shows of
 * its processes. What grows only is read from where it was when the suite began.
 */
import { closeSync, fstatSync, openSync, readdirSync, readFileSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { HostPort } from '../../../demo/parts/layout.ts'

/** Cassandra's tables and the files beside them: what was shown never gets there, for the sidecar takes it. They are large. */
const tables = /\/(?:data|commitlog|saved_caches|hints|cdc_raw)\//
const growing = /\.(?:log|jsonl)$/
const pages = ['metrics', 'config_dump', 'sessions', 'certs', 'readyz']

export class Written {
  readonly #stateDir: string
  readonly #sizes: ReadonlyMap<string, number>

  /** To be made when the suite begins. */
  constructor(stateDir: string) {
    this.#stateDir = stateDir
    this.#sizes = new Map(filesIn(stateDir).map((file) => [file, statSync(file).size]))
  }

  /** Name and text of each; bytes as latin1. */
  *files(): Generator<readonly [string, string]> {
    for (const file of filesIn(this.#stateDir)) {
      yield [file, textFrom(file, growing.test(file) ? (this.#sizes.get(file) ?? 0) : 0)]
    }
  }

  /** @param ports of the admin ports; one that does not answer is an error */
  async pages(ports: readonly HostPort[]): Promise<(readonly [string, string])[]> {
    const read = ports.flatMap(({ address, port }) =>
      pages.map(async (page) => {
        const url = `http://${address}:${port}/${page}`
        return [url, await (await fetch(url)).text()] as const
      }),
    )
    return await Promise.all(read)
  }

  /** Arguments and environments of all processes of this machine. */
  *processes(): Generator<readonly [string, string]> {
    for (const pid of readdirSync('/proc')) {
      if (!/^\d+$/.test(pid)) continue
      for (const what of ['cmdline', 'environ']) {
        const file = join('/proc', pid, what)
        const text = textOf(file)
        if (text !== undefined) yield [file, text]
      }
    }
  }
}

/** From there on; the whole where the file is shorter by now. */
function textFrom(file: string, position: number): string {
  const fd = openSync(file, 'r')
  try {
    const { size } = fstatSync(fd)
    const from = position <= size ? position : 0
    const bytes = Buffer.alloc(size - from)
    return bytes.toString('latin1', 0, readSync(fd, bytes, 0, bytes.length, from))
  } finally {
    closeSync(fd)
  }
}

/** Undefined of a process that is gone, or is somebody else's. */
function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'latin1')
  } catch {
    return undefined
  }
}

function filesIn(dir: string): string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))
    .filter((file) => !tables.test(file))
}
