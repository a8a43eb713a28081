vcl 4.1;

# Varnish with answers in memory. It passes every request that has a Cookie or Authorization, so that the benchmark asks
# without. Its arguments, after the name of the program; @name@ is filled in by benchmarks/proxies.py:
#
# varnishd -F -a 127.0.0.1:@port@ -f @folder@/varnish.vcl -n @folder@/varnish -s malloc,256m -p thread_pools=1 -p thread_pool_min=50 -p timeout_idle=300

backend origin {
    .host = "127.0.0.1";
    .port = "@origin@";
}
