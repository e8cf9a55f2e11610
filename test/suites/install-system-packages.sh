#!/usr/bin/env bash
# Installs, from the distribution, those of the named programs that are missing: what suites need beside npm packages.
#   bash test/suites/install-system-packages.sh chromium nginx haproxy
# Needs apt-get and root, or sudo without a password. Where it cannot install it says so and succeeds: whoever
# needs the program looks for it again.
set -uo pipefail
export PATH="$PATH:/usr/sbin:/usr/local/sbin"

say() { echo "install-system-packages: $*" >&2; }

present() {
  case $1 in
    chromium)
      [ -n "${CHROMIUM:-}" ] && return 0
      # Ubuntu's chromium-browser is a stub that asks for a snap, hence the look at whether it runs.
      local name
      for name in chromium chromium-browser google-chrome google-chrome-stable; do
        "$name" --version >/dev/null 2>&1 && return 0
      done
      return 1
      ;;
    # Debian keeps the programs of each version of PostgreSQL on no PATH.
    postgres) command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 ;;
    *) command -v "$1" >/dev/null 2>&1 ;;
  esac
}

missing=()
for name in "$@"; do present "$name" || missing+=("$name"); done
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null 2>&1; then
  say "no apt-get here; install ${missing[*]} by hand."
  exit 0
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! sudo -n true 2>/dev/null; then
    say "not root, and sudo asks for a password; run: sudo apt-get install ${missing[*]}"
    exit 0
  fi
  as_root=(sudo -n)
fi

say "installing ${missing[*]} with apt-get"
# Debian starts a service when it is installed. This asks it not to: the suites start their own, on free ports.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod +x "$policy"
  trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi
install() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "$@"
}
"${as_root[@]}" apt-get update >&2 || say 'apt-get update failed; trying with the lists that are here.'
for name in "${missing[@]}"; do
  packages=("$name")
  [ "$name" = chromium ] && packages+=(chromium-browser)
  [ "$name" = varnishd ] && packages=(varnish)
  [ "$name" = postgres ] && packages=(postgresql)
  [ "$name" = WebKitWebDriver ] && packages=(webkit2gtk-driver)
  [ "$name" = Xvfb ] && packages=(xvfb)
  # The headers first: with the compiler there, cc counts as present.
  [ "$name" = cc ] && packages=(libc6-dev gcc)
  for package in "${packages[@]}"; do
    present "$name" || install "$package" >&2 || say "apt-get could not install $package."
  done
  present "$name" || say "$name is still not there."
done
exit 0
