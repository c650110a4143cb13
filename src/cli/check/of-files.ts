/** Certificates in files of this host: those that NGINX serves, a Cassandra node's, and any that the operator names. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { type Finding, failure, warning } from './finding.ts'
import { certificatesOf, lifeOf, ofLife } from './life.ts'

const category = 'files'
const hint = 'is the program that renews it running (ringfence agent or cert-sync); else make it anew'

export interface ServedFile {
  readonly path: string
  /** Who serves it. */
  readonly of: string
}

/** The first certificate of each, and of those behind it what will break. */
export function ofFiles(files: readonly ServedFile[], nowMs: number): Finding[] {
  return files.flatMap((file) => ofFile(file, nowMs))
}

function ofFile({ path, of }: ServedFile, nowMs: number): Finding[] {
  let pem: string
  try {
    pem = readFileSync(path, 'utf8')
  } catch (reason) {
    const { message } = reason as NodeJS.ErrnoException
    return [warning(category, `${path} was not looked at: ${message}`, 'run the check as a user who may read it')]
  }
  const certificates = certificatesOf(pem)
  if (certificates.length === 0) return [failure(category, `there is no certificate in ${path}`, hint)]
  return certificates.flatMap((certificate, index) => {
    const what = index === 0 ? `certificate in ${path}` : `authority ${index} in ${path}`
    const found = ofLife({ category, what, ...lifeOf(certificate), breaks: `clients of ${of} refuse it`, hint }, nowMs)
    return index === 0 || found.level !== 'ok' ? [found] : []
  })
}

/** What NGINX would serve by this configuration, all that it includes in it. */
export function nginxFiles(program: string, configFile: string): { files: ServedFile[]; findings: Finding[] } {
  const path = resolve(configFile)
  const ran = spawnSync(program, ['-T', '-q', '-c', path, '-e', 'stderr'], { encoding: 'utf8' })
  if (ran.error !== undefined || ran.status !== 0) {
    const why = ran.error?.message ?? ran.stderr.trim().split('\n').at(-1) ?? ''
    const text = `the certificates of NGINX were not looked at: ${why}`
    return { files: [], findings: [warning(category, text, 'run the check as root, whose keys NGINX reads')] }
  }
  const named = [...ran.stdout.matchAll(/^\s*(?:proxy_)?ssl_certificate\s+(?:"([^"]+)"|'([^']+)'|([^\s;]+))\s*;/gm)]
  const paths = named
    .map(([, double, single, bare]) => double ?? single ?? bare ?? '')
    // What is made for each connection, or stands in the configuration itself.
    .filter((name) => !name.includes('$') && !name.startsWith('data:'))
    // NGINX looks for them beside its configuration.
    .map((name) => resolve(dirname(path), name))
  return { files: [...new Set(paths)].map((one) => ({ path: one, of: 'NGINX' })), findings: [] }
}
