/**
 * Requests on behalf of a person, whose transaction token the sidecar knows already, beside the same requests without one: what the token costs.
 * It is the control plane's own, got as an application gets it, anew for each round.
 */
import { readFileSync } from 'node:fs'
import { request } from 'node:https'
import { madeTxnToken, txnTokensPath } from '../../src/mesh/transaction-tokens.ts'
import type { Credentials } from '../certificates.ts'
import { markdown } from '../dearest/table.ts'
import { runLoad } from '../load-process.ts'
import type { MeshSystem } from '../systems/mesh.ts'
import { median, medianRange, wordsForRange } from '../table.ts'
import { type BenchProvider, tokenMaker } from './provider.ts'

const moreUsMax = 5
const load = { connections: 16, inFlight: 4, seconds: 2 } as const

/** Resolves with the number of rows that are not within their bound. */
export async function reportBehalf(
  mesh: MeshSystem,
  provider: BenchProvider,
  rounds: number,
  say: (line: string) => void,
): Promise<number> {
  const personToken = tokenMaker(provider.signer, 'ES256')
  const doors = [
    { name: 'sidecar', port: mesh.sidecarPort, pids: [mesh.sidecar.pid!] },
    { name: 'gateway', port: mesh.tlsPort!, pids: mesh.pids },
  ]
  const rows: string[][] = []
  for (const { name, port, pids } of doors) {
    const plain: number[] = []
    const behalf: number[] = []
    const cpuUs = async (payload: Readonly<Record<string, string>> | undefined): Promise<number> => {
      const plan = { ...load, host: '127.0.0.1', port, tls: mesh.credentials, ...(payload && { payload }) }
      const { result, cpu } = await runLoad(plan, pids)
      if (result.errors > 0) throw new Error(`${result.errors} requests failed at the ${name}`)
      return (cpu / result.requests) * 1e6
    }
    const bad = { ...load, seconds: 0.2, warmupSeconds: 0, host: '127.0.0.1', port, tls: mesh.credentials }
    const { result: spoiled } = await runLoad({ ...bad, payload: { 'txn-token': `${personToken()}x` } }, pids)
    if (spoiled.requests > 0 || spoiled.errors === 0) throw new Error(`the ${name} does not look at transaction tokens`)
    // What has just started compiles its code yet, and that for requests with a token is new to it.
    const first = await txnTokenFor(personToken(), mesh.controlUrl, mesh.credentials)
    for (const payload of [undefined, { 'txn-token': first }, undefined, { 'txn-token': first }]) await cpuUs(payload)
    for (let round = 0; round < rounds; round++) {
      const token = await txnTokenFor(personToken(), mesh.controlUrl, mesh.credentials)
      const measures = [
        async () => plain.push(await cpuUs(undefined)),
        async () => behalf.push(await cpuUs({ 'txn-token': token })),
      ]
      // Each is as often first.
      for (const measure of round % 2 === 0 ? measures : measures.reverse()) await measure()
      say(`round ${round + 1}/${rounds}  ${name}  ${plain.at(-1)!.toFixed(1)} µs, ${behalf.at(-1)!.toFixed(1)} µs`)
    }
    const more = behalf.map((us, round) => us - plain[round]!)
    rows.push([
      name,
      median(plain).toFixed(1),
      median(behalf).toFixed(1),
      median(more).toFixed(1),
      wordsForRange(medianRange(more)) ?? '—',
      String(moreUsMax),
      median(more) <= moreUsMax ? 'yes' : 'no',
    ])
  }
  console.log(markdown(titles, rows, 1))
  return rows.filter((row) => row.at(-1) === 'no').length
}

const titles = [
  'requests at a',
  'CPU µs without a transaction token',
  'with one that is known',
  'more, median of the rounds',
  'its 95 %',
  'at most',
  'within',
] as const

/** As docs/identity/txn-tokens.md has it. */
function txnTokenFor(token: string, controlUrl: string, { cert, key, ca }: Credentials): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent = request(
      `${controlUrl}${txnTokensPath}`,
      {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        cert: readFileSync(cert),
        key: readFileSync(key),
        ca: readFileSync(ca),
        // A SPIFFE certificate names no host; the bench knows whom it started.
        checkServerIdentity: () => undefined,
        agent: false,
      },
      async (answer) => {
        let text = ''
        for await (const chunk of answer.setEncoding('utf8')) text += chunk
        if (answer.statusCode === 200) resolve(madeTxnToken.parse(JSON.parse(text)).token)
        else reject(new Error(`no transaction token: ${answer.statusCode} ${text}`))
      },
    )
    sent.on('error', reject)
    sent.end(JSON.stringify({ token }))
  })
}
