/** The configuration of a gateway, as its file has it. Supervisor and workers read it, each for itself. */
import { readFileSync } from 'node:fs'
import { RingfenceError } from '../base/errors.ts'
import { type GatewayConfig, parseGatewayConfig } from './config.ts'

/** @throws RingfenceError CONFIG */
export function readGatewayConfig(file: string): GatewayConfig {
  let source: string
  try {
    source = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new RingfenceError('CONFIG', `cannot read ${file}`, { cause, hint: 'give the path of a Gateway document' })
  }
  return parseGatewayConfig(source, file)
}
