/**
 * People's part of the demonstration: who vouches for them, and what stands before the web application that they use.
 *
 *   browser ─▶ NGINX ─ who is it? ─▶ gateway ─▶ provider `corp`, control plane
 *                └─ page, Txn-Token ─▶ web application ─ statement on behalf of the person ─▶ NGINX's other door, for CQL
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { NginxHttpOptions } from '../../src/control/nginx-http.ts'
import type { HttpConfig } from '../../src/gateway/http/http-config.ts'
import { shopClient } from '../providers/clients.ts'
import { secretFile } from '../providers/secrets.ts'
import { isOpen } from './cassandra.ts'
import { type HostPort, type Layout, layoutOf, show, spiffeIds } from './layout.ts'
import type { Making } from './mesh-options.ts'
import { type MeshPart, partOf, untilReady } from './part.ts'
import { littleToDo } from './processes.ts'
import { repoRoot } from './setup.ts'

const application = 'shop'
const rules = join(import.meta.dirname, '..', 'policy.yaml')

export function siteUrl({ site }: Layout): string {
  return `https://${show(site)}`
}

/** Certificate and key of the web application's pages, and the roots that a browser has to be told of. */
export function siteFiles({ dirs }: Layout): { certFile: string; keyFile: string; caFile: string } {
  const file = (name: string): string => join(dirs.nginx, name)
  return { certFile: file('site.pem'), keyFile: file('site-key.pem'), caFile: file('site-bundle.pem') }
}

export function peopleAddresses({ gatewayHttp: asked, site, application: app, corp, cloud }: Layout): HostPort[] {
  return [asked, site, app, corp, cloud]
}

/** The process that vouches. Secrets must be there. */
export function providersPart({ layout, processes }: Making): MeshPart {
  const { corp, cloud, dirs } = layout
  const settings = {
    DEMO_CORP: show(corp),
    DEMO_CLOUD: show(cloud),
    DEMO_SITE: siteUrl(layout),
    DEMO_SECRETS: dirs.providers,
  }
  return partOf('providers', async () => {
    const args = [...littleToDo.flags, join(repoRoot, 'demo', 'providers', 'main.ts')]
    const env = { ...littleToDo.env, ...settings }
    const child = await processes.spawn('providers', process.execPath, args, { env })
    for (const { address, port } of [corp, cloud]) await untilReady(child, () => isOpen(address, port))
    return child
  })
}

export function gatewayHttp(layout: Layout): HttpConfig {
  const { gatewayHttp: at, corp, dirs } = layout
  const clientSecretFile = secretFile(dirs.providers, 'shop')
  return {
    ...at,
    applications: [
      {
        name: application,
        workload: spiffeIds.service('shop'),
        url: siteUrl(layout),
        logIn: { issuer: `http://${show(corp)}`, clientId: shopClient, clientSecretFile, token: 'access' },
      },
    ],
  }
}

export function nginxHttpOf(layout: Layout): NginxHttpOptions {
  const { site, gatewayHttp: at, application: app, dirs } = layout
  const { certFile: file, keyFile } = siteFiles(layout)
  return {
    listen: [show(site)],
    certificate: { file, keyFile },
    gateway: show(at),
    applications: [{ name: application, serverName: site.address, upstream: show(app) }],
    bodiesFolder: dirs.nginx,
  }
}

/** The rules, with the providers' issuers where these listen: where ports are moved, a copy of the file. */
export function policyFileFor(layout: Layout): string {
  const usual = layoutOf(layout.stateDir, 1, 0)
  if (usual.corp.port === layout.corp.port) return rules
  const moved = readFileSync(rules, 'utf8')
    .replaceAll(show(usual.corp), show(layout.corp))
    .replaceAll(show(usual.cloud), show(layout.cloud))
  mkdirSync(layout.stateDir, { recursive: true })
  const file = join(layout.stateDir, 'policy.yaml')
  writeFileSync(file, moved)
  return file
}
