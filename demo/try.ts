/** What a newcomer may paste: addresses, and commands with the files that they need. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import type { IdentityFiles } from './parts/certificates.ts'
import { type HostPort, type Layout, show, spiffeIds } from './parts/layout.ts'
import type { Mesh } from './parts/mesh.ts'
import { siteFiles, siteUrl } from './parts/people.ts'
import { findProgram } from './parts/setup.ts'
import { toolsClient } from './providers/clients.ts'
import { secretFile } from './providers/secrets.ts'

export interface Suggestions {
  readonly addresses: readonly { readonly what: string; readonly where: string }[]
  readonly commands: readonly { readonly what: string; readonly command: string }[]
}

/** @param policyFile the one that was applied */
export async function suggestions(mesh: Pick<Mesh, 'layout' | 'identity'>, policyFile: string): Promise<Suggestions> {
  const { layout } = mesh
  const door = layout.nginx
  const [alice, bob] = await Promise.all([
    mesh.identity(spiffeIds.person('corp', 'alice')),
    mesh.identity(spiffeIds.person('corp', 'bob')),
  ])
  const { cqlsh, needs, needsInstalled } = cqlshProgram()
  const aliceRc = writeCqlshrc(layout, 'alice', alice, door)
  const bobRc = writeCqlshrc(layout, 'bob', bob, door)
  const ringfence = 'node bin/ringfence.mjs'
  const state = `--state-dir ${here(layout.dirs.control)}`
  return {
    addresses: addressesOf(layout),
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
        what: 'steal a certificate, revoke it, and see how soon each door is shut',
        command: `${ringfence} drill breach --as ${spiffeIds.service('orders')} ${state}`,
      },
      {
        what: 'the password that Alice has at the company, for the pages and the next line',
        command: `cat ${here(secretFile(layout.dirs.providers, 'alice'))}`,
      },
      {
        what: 'log in as Alice with a browser of your own',
        command: `${ringfence} login --issuer http://${show(layout.corp)} --client-id ${toolsClient} --door ${show(door)} --ca ${here(siteFiles(layout).caFile)}`,
      },
      { what: `a shell as who is logged in${needsInstalled}`, command: `${ringfence} cqlsh` },
      {
        what: 'change the rules while all runs',
        command: `${ringfence} policy apply -f ${here(policyFile)} ${state}`,
      },
    ],
  }
}

function addressesOf(layout: Layout): Suggestions['addresses'] {
  return [
    { what: 'clients connect here (NGINX)', where: show(layout.nginx) },
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
    { what: 'pages of the web application (NGINX)', where: siteUrl(layout) },
    { what: 'identity provider of people', where: `http://${show(layout.corp)}` },
  ]
}

/** What is printed of them. */
export function suggestionLines({ addresses, commands }: Suggestions): string[] {
  const width = Math.max(...addresses.map(({ where }) => where.length))
  return [
    '',
    'Addresses',
    ...addresses.map(({ what, where }) => `  ${where.padEnd(width)}  ${what}`),
    '',
    'To paste into another terminal',
    ...commands.flatMap(({ what, command }) => [`  # ${what}`, `  ${command}`]),
    '',
  ]
}

/** https://cassandra.apache.org/doc/5.0/cassandra/managing/tools/cqlsh.html, [connection] and [ssl]. */
function writeCqlshrc({ stateDir }: Layout, name: string, files: IdentityFiles, door: HostPort): string {
  const dir = join(stateDir, 'cqlsh')
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

/** The one that is installed, or how to run it without installing; `ringfence cqlsh` starts one that is installed. */
function cqlshProgram(): { readonly cqlsh: string; readonly needs: string; readonly needsInstalled: string } {
  if (findProgram('cqlsh') !== undefined) return { cqlsh: 'cqlsh', needs: '', needsInstalled: '' }
  const needsInstalled = ' (needs: pipx install cqlsh)'
  if (findProgram('uvx') !== undefined) return { cqlsh: 'uvx cqlsh', needs: '', needsInstalled }
  const needs = findProgram('pipx') === undefined ? ' (needs: apt-get install pipx)' : ''
  return { cqlsh: 'pipx run cqlsh', needs, needsInstalled }
}

/** As short as it can be from where the command is pasted, and quoted where a shell needs it. */
function here(path: string): string {
  const relativePath = relative(process.env.INIT_CWD ?? process.cwd(), path)
  const short = relativePath.length < path.length ? relativePath : path
  return /^[\w./@+-]+$/.test(short) ? short : `'${short.replaceAll("'", "'\\''")}'`
}
