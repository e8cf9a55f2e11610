import { startProxy, type ProxyServer } from './proxy-server.js';
import { guideBlock, replaceOnce } from '../../suites/guide-blocks.js';

/** Starts Varnish with the guide's configuration, in front of an origin on this machine. */
export function startVarnish(originPort: number): Promise<ProxyServer> {
  return startProxy({
    name: 'varnishd',
    ready: /Child starts/,
    // What it keeps here is of no interest, and its log need not be as long as usual.
    args: (configuration, folder, port) =>
      `-F -j none -a 127.0.0.1:${port} -f ${configuration} -n ${folder}/work -s malloc,16m -l 8m`.split(' '),
    configure: () => replaceOnce(guideBlock('vcl'), '.port = "3000"', `.port = "${originPort}"`),
  });
}
