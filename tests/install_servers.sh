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
    # No service is to start by itself: the tests start their own.
    apt=(env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -qq)
    [ "$(id -u)" = 0 ] || apt=(sudo -n "${apt[@]}")
    # A package that would replace an installed one stays out: mariadb-server would remove MySQL.
    install() { timeout 240 "${apt[@]}" install --no-install-recommends --no-remove "$@" >/dev/null; }
    if timeout 60 "${apt[@]}" update >/dev/null; then
        # shellcheck disable=SC2086
        install $packages || for package in $packages; do
            install "$package" || echo "apt-get could not install $package; does it conflict with an installed one?" >&2
        done
    else
        echo "apt-get could not install: $(echo $packages)" >&2
    fi
fi
if has npm && ! [ -x .cache/azurite/node_modules/.bin/azurite-blob ]; then
    npm install --silent --no-fund --no-audit --prefix .cache/azurite azurite >/dev/null \
        || echo "npm could not install azurite" >&2
fi
packages=$(missing)
[ -z "$packages" ] || echo "not installed, so their tests are skipped: $(echo $packages)"
