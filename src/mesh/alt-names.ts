/** Addresses and host names that a certificate carries: what one is, for who asks for it and for who issues it. */
import { isIP } from 'node:net'
import { RingfenceError } from '../base/errors.ts'

const hostName = /^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/

/** @throws RingfenceError USAGE */
export function parseIpAddress(text: string): string {
  if (isIP(text) === 0) throw new RingfenceError('USAGE', `not an IP address: ${text}`)
  return text
}

/** @throws RingfenceError USAGE */
export function parseHostName(text: string): string {
  if (!hostName.test(text)) throw new RingfenceError('USAGE', `not a host name: ${text}`)
  return text
}
