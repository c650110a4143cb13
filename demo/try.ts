/** What a newcomer may paste: addresses, and commands with the files that they need. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import type { IdentityFiles } from './parts/certificates.ts'
import { type HostPort, show, spiffeIds } from './parts/layout.ts'
import type { Mesh } from './parts/mesh.ts'
import { siteUrl } from './parts/people.ts'
import { findProgram } from './parts/setup.ts'
import { secretFile } from './providers/secrets.ts'

export interface Suggestions {
  readonly addresses: readonly { readonly what: string; readonly where: string }[]
  readonly commands: readonly { readonly what: string; readonly command: string }[]
}

/** @param policyFile the one that was applied */
export async function suggestions(mesh: Mesh, policyFile: string): Promise<Suggestions> {
  const { layout } = mesh
  const door = layout.nginx
  const [alice, bob] = await Promise.all([
    mesh.identity(spiffeIds.person('corp', 'alice')),
    mesh.identity(spiffeIds.person('corp', 'bob')),
  ])
  const { cqlsh, needs } = cqlshProgram()
  const aliceRc = writeCqlshrc(mesh, 'alice', alice, door)
  const bobRc = writeCqlshrc(mesh, 'bob', bob, door)
  const ringfence = 'node bin/ringfence.mjs'
  const state = `--state-dir ${here(layout.dirs.control)}`
  return {
    addresses: [
      { what: 'clients connect here (NGINX)', where: show(door) },
      { what: 'gateway, behind NGINX only', where: show(layout.gateway) },
      ...layout.nodes.map(({ index, sidecar }) => ({
        what: `sidecar of node ${index}, for services in the mesh`,
        where: show(sidecar),
      })),
      ...layout.nodes.map(({ index, cql }) => ({
        what: `Cassandra node ${index}, for its sidecar only`,
        where: show(cql),
      })),
      { what: 'control plane', where: show(layout.control) },
      { what: 'pages of the web application (NGINX), where Alice and Bob log in', where: siteUrl(layout) },
      { what: 'identity provider of people', where: `http://${show(layout.corp)}` },
    ],
    commands: [
      {
        what: `as Alice, who may read the shop${needs}`,
        command: `${cqlsh} --cqlshrc ${aliceRc} -e 'SELECT customer, product, amount FROM shop.orders LIMIT 5'`,
      },
      {
        what: 'as Bob, who may not',
        command: `${cqlsh} --cqlshrc ${bobRc} -e 'SELECT customer, product, amount FROM shop.orders LIMIT 5'`,
      },
      { what: 'a shell through NGINX', command: `${cqlsh} --cqlshrc ${aliceRc}` },
      {
        what: 'see the TLS of the door',
        command: `openssl s_client -connect ${show(door)} -CAfile ${here(alice.caFile)} -cert ${here(alice.certFile)} -key ${here(alice.keyFile)} -brief </dev/null`,
      },
      { what: 'every proxy with revision, certificate, connections', command: `${ringfence} status ${state}` },
      { what: 'who is talking to Cassandra', command: `${ringfence} traffic ${state}` },
      { what: 'who they are, and what each may', command: `${ringfence} identity list ${state}` },
      {
        what: 'the password that Alice has at the company, for the pages',
        command: `cat ${here(secretFile(layout.dirs.providers, 'alice'))}`,
      },
      {
        what: 'change the rules while all runs',
        command: `${ringfence} policy apply -f ${here(policyFile)} ${state}`,
      },
    ],
  }
}

/** https://cassandra.apache.org/doc/5.0/cassandra/managing/tools/cqlsh.html, [connection] and [ssl]. */
function writeCqlshrc(mesh: Mesh, name: string, files: IdentityFiles, door: HostPort): string {
  const dir = join(mesh.layout.stateDir, 'cqlsh')
  mkdirSync(dir, { recursive: true })
  const file = join(dir, `${name}.cqlshrc`)
  writeFileSync(
    file,
    `[connection]
hostname = ${door.address}
port = ${door.port}
ssl = true
timeout = 20

[ssl]
certfile = ${files.caFile}
validate = true
usercert = ${files.certFile}
userkey = ${files.keyFile}
`,
  )
  return here(file)
}

/** The one that is installed, or how to run it without installing. */
function cqlshProgram(): { readonly cqlsh: string; readonly needs: string } {
  if (findProgram('cqlsh') !== undefined) return { cqlsh: 'cqlsh', needs: '' }
  if (findProgram('uvx') !== undefined) return { cqlsh: 'uvx cqlsh', needs: '' }
  const needs = findProgram('pipx') === undefined ? ' (needs: apt-get install pipx)' : ''
  return { cqlsh: 'pipx run cqlsh', needs }
}

/** As short as it can be from where the command is pasted, and quoted where a shell needs it. */
function here(path: string): string {
  const relativePath = relative(process.env.INIT_CWD ?? process.cwd(), path)
  const short = relativePath.length < path.length ? relativePath : path
  return /^[\w./@+-]+$/.test(short) ? short : `'${short.replaceAll("'", "'\\''")}'`
}
