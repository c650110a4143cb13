/**
 * The hosts of docs/production.md on one machine: each has a folder in place of `/` and loopback addresses in place of its own.
 *
 *   10.0.0.11          127.0.7.11             127.0.0.1 on it    127.0.8.11
 *   /etc/cassandra/x   <root>/node1/etc/cassandra/x
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parse, stringify } from 'yaml'
import type { Where } from './page.ts'

export interface Host {
  readonly name: string
  /** Stands in place of `/`. */
  readonly root: string
  /** In place of 10.0.0.x. */
  readonly address: string
  /** In place of 127.0.0.1, which all hosts of this machine would share. */
  readonly loopback: string
}

/** A host, and the node that its block speaks of where that is another one. */
export interface Turn {
  readonly host: Host
  readonly node: number
}

const folders = [
  'etc/cassandra',
  'etc/ringfence',
  'etc/shop',
  'etc/nginx',
  'etc/systemd/system',
  'var/lib',
  'run',
  'home',
]

export class Hosts {
  readonly root: string
  readonly nodes: readonly Host[]
  readonly edge: Host
  readonly #programs: Readonly<Record<string, string>>

  /** @param programs where a path of the page lies elsewhere here: `/opt/ringfence`, `/usr/local/bin/ringfence` */
  constructor(root: string, nodes: number, programs: Readonly<Record<string, string>>) {
    this.root = root
    this.#programs = programs
    const host = (name: string, last: number): Host => {
      for (const folder of folders) mkdirSync(join(root, name, folder), { recursive: true })
      return { name, root: join(root, name), address: `127.0.7.${last}`, loopback: `127.0.8.${last}` }
    }
    this.edge = host('edge', 5)
    this.nodes = Array.from({ length: nodes }, (_, i) => host(`node${i + 1}`, 11 + i))
  }

  turns(where: Where): Turn[] {
    const each = this.nodes.map((host, i) => ({ host, node: i + 1 }))
    if (where === 'edge') return [{ host: this.edge, node: 1 }]
    if (where === 'edge each') return each.map(({ node }) => ({ host: this.edge, node }))
    if (where === 'each host') return [{ host: this.edge, node: 1 }, ...each]
    if (where === 'node 1') return each.slice(0, 1)
    return where === 'other nodes' ? each.slice(1) : each
  }

  /** The page's text as it is for this host. What is shown for node 1 is the node's own, unless the block is for node 1 alone. */
  translate(text: string, { host, node }: Turn, where: Where): string {
    const own =
      where === 'node 1'
        ? text
        : text.replaceAll(/\bnode1\b/g, `node${node}`).replaceAll('10.0.0.11', `10.0.0.${10 + node}`)
    let here = own.replaceAll("'datacenter1': 3", `'datacenter1': ${this.nodes.length}`)
    for (const [path, there] of Object.entries(this.#programs)) here = here.replaceAll(path, there)
    return here
      .replaceAll(
        /(?:\b(node\d|edge):)?(?<![\w.])\/(etc|var\/lib|run)\/(?=[a-z])/g,
        (_, name, folder) => `${join(this.root, name ?? host.name, folder)}/`,
      )
      .replaceAll('10.0.0.', '127.0.7.')
      .replaceAll(/(?<!\d)127\.0\.0\.1(?!\d|\/32)/g, host.loopback)
  }

  path(path: string, host: Host): string {
    return join(host.root, path)
  }

  writeFile(path: string, text: string, host: Host): void {
    const file = this.path(path, host)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, text, { mode: 0o600 })
  }

  /** Top-level keys that are in `text` take the place of those in the file. */
  mergeKeys(path: string, text: string, host: Host): void {
    const before = parse(readFileSync(this.path(path, host), 'utf8')) as object
    this.writeFile(path, stringify({ ...before, ...(parse(text) as object) }), host)
  }
}
