#!/usr/bin/env bash
# Installs the servers that `make services` tests against, as far as this machine allows, and says what is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Program and Debian package.
servers="
rclone rclone
nginx nginx-light
/usr/lib/nginx/modules/ngx_http_dav_ext_module.so libnginx-mod-http-dav-ext
apache2 apache2
vsftpd vsftpd
redis-server redis-server
memcached memcached
mariadbd mariadb-server
/usr/lib/postgresql/*/bin/initdb postgresql
npm npm
"

has() { # a program, or a pattern of files
    PATH="$PATH:/usr/sbin" command -v "$1" >/dev/null || compgen -G "$1" >/dev/null
}

missing() {
    while read -r program package; do
        [ -z "$program" ] || has "$program" || echo "$package"
    done <<<"$servers"
}

packages=$(missing)
if [ -n "$packages" ] && command -v apt-get >/dev/null; then
    run=()
    [ "$(id -u)" = 0 ] || run=(sudo -n)
    # No service is to start by itself: the tests start their own.
    export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
    # shellcheck disable=SC2086
    { timeout 60 "${run[@]}" apt-get update -qq && timeout 240 "${run[@]}" apt-get install -qq --no-install-recommends $packages; } \
        >/dev/null || echo "apt-get could not install all of: $(echo $packages)" >&2
fi
if has npm && ! [ -x .cache/azurite/node_modules/.bin/azurite-blob ]; then
    npm install --silent --no-fund --no-audit --prefix .cache/azurite azurite >/dev/null \
        || echo "npm could not install azurite" >&2
fi
packages=$(missing)
[ -z "$packages" ] || echo "not installed, so their tests are skipped: $(echo $packages)"
