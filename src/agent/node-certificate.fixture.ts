/** A process that puts one certificate after the other into a node's files until it is killed, and says a dot for each. Arguments: key store, trust store, a file of the certificates. */
import { readFileSync } from 'node:fs'
import { pino } from 'pino'
import { credentialsOf } from '../mesh/credentials.ts'
import { CertificateFiles } from './certificate-files.ts'
import { nodeFiles } from './node-certificate.ts'

const [keystore = '', truststore = '', source = ''] = process.argv.slice(2)
const texts = JSON.parse(readFileSync(source, 'utf8')) as {
  certificatePem: string
  keyPem: string
  bundlePem: string
}[]
const all = texts.map(({ certificatePem, keyPem, bundlePem }) => credentialsOf(certificatePem, keyPem, bundlePem))
const files = new CertificateFiles({
  files: nodeFiles({ keystore, truststore, reload: 'true' }),
  tell: undefined,
  log: pino({ level: 'silent' }),
})
for (;;) {
  for (const one of all) {
    await files.put(one)
    process.stdout.write('.')
  }
}
